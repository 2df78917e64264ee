package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/warmup"

	"github.com/kiteline/kiteline/internal/callback"
)

// WarmUp implements warmup.Pool: it opens connections until each target has wuo.ConnNum of them, as
// far as the pool's limits allow. It dials on wuo.Parallel goroutines and blocks until all dials
// have ended. With warmup.FailFast no dial begins after one has failed. It returns the first error,
// or nil with warmup.IgnoreError.
//
// It does not use Kitex's warmup.PoolHelper, which takes all connections before it puts any back
// and would wait for itself if MaxConnsPerAddress were less than ConnNum.
func (p *Pool) WarmUp(eh warmup.ErrorHandling, wuo *warmup.PoolOption, co remote.ConnOption) error {
	if wuo == nil {
		return nil
	}
	run := warmUp{pool: p, opt: co, failFast: eh == warmup.FailFast}
	run.perAddress = min(wuo.ConnNum, p.config.MaxIdlePerAddress, p.config.MaxConnsPerAddress)
	for range run.perAddress {
		for network, addresses := range wuo.Targets {
			for _, address := range addresses {
				run.jobs = append(run.jobs, netAddr{network, address})
			}
		}
	}
	var workers sync.WaitGroup
	for range min(max(wuo.Parallel, 1), len(run.jobs)) {
		workers.Go(run.work)
	}
	workers.Wait()
	if eh == warmup.IgnoreError {
		return nil
	}
	return run.err
}

// warmUp is one call of WarmUp.
type warmUp struct {
	// immutable while the workers run
	pool       *Pool
	opt        remote.ConnOption
	perAddress int
	failFast   bool

	mu   sync.Mutex
	jobs []netAddr // guarded by mu: one entry for each connection still to be opened
	err  error     // guarded by mu: the first
}

// work runs on a goroutine of WarmUp's, until there is nothing left to do.
func (run *warmUp) work() {
	for {
		addr, ok := run.next()
		if !ok {
			return
		}
		if err := run.open(addr); err != nil {
			run.mu.Lock()
			if run.err == nil {
				run.err = err
			}
			run.mu.Unlock()
		}
	}
}

func (run *warmUp) next() (addr netAddr, ok bool) {
	run.mu.Lock()
	defer run.mu.Unlock()
	if len(run.jobs) == 0 || run.failFast && run.err != nil {
		return netAddr{}, false
	}
	addr = run.jobs[0]
	run.jobs = run.jobs[1:]
	return addr, true
}

// open opens one connection to addr. A dialer that panics, or ends its goroutine, makes an error
// here, since the goroutine is not the user's.
func (run *warmUp) open(addr netAddr) (err error) {
	failure := callback.Apart(func() { err = run.dial(addr) })
	if failure != nil {
		err = fmt.Errorf("warm-up of %s: dialer panicked: %v", addr.address, failure.Value)
	}
	return err
}

func (run *warmUp) dial(addr netAddr) error {
	for {
		pr, err := run.pool.peer(addr)
		if err != nil {
			return err
		}
		if err = pr.warmUp(run.perAddress, run.opt); !errors.Is(err, errForgotten) {
			return err
		}
	}
}

// warmUp opens one more connection and leaves it idle, unless the peer already has enough of them,
// or the pool has no room for idle ones.
func (pr *peer) warmUp(enough int, opt remote.ConnOption) error {
	pr.mu.Lock()
	if pr.state != peerServing {
		err := pr.claimLocked().err
		pr.mu.Unlock()
		return err
	}
	if pr.counts.Open >= enough || pr.pool.idle.Load() >= int64(pr.pool.config.MaxIdleGlobal) {
		pr.mu.Unlock()
		return nil
	}
	pr.counts.Open++
	pr.counts.Dialing++
	pr.mu.Unlock()
	c, err := pr.dial(context.Background(), opt)
	if err != nil {
		return err
	}
	return pr.put(c.current())
}
