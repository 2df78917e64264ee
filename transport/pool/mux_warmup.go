package pool

import (
	"cmp"
	"context"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/warmup"
)

// WarmUp implements warmup.Pool: it opens wuo.ConnNum connections to each target, but no more than
// MuxConfig.MaxConns, wuo.Parallel at a time, and blocks until they are open. After a failed dial
// it begins no other to that address, and with warmup.FailFast no other at all. It returns the
// first error, or nil with warmup.IgnoreError.
func (p *Mux) WarmUp(eh warmup.ErrorHandling, wuo *warmup.PoolOption, co remote.ConnOption) error {
	if wuo == nil {
		return nil
	}
	run := muxWarmUp{pool: p, opt: co, failFast: eh == warmup.FailFast, failed: make(map[netAddr]bool)}
	for n := range min(wuo.ConnNum, p.config.MaxConns) {
		for network, addresses := range wuo.Targets {
			for _, address := range addresses {
				run.jobs = append(run.jobs, muxWarmUpJob{netAddr{network, address}, n + 1})
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

// muxWarmUpJob is the task to bring addr to n connections, one more than the job before it.
type muxWarmUpJob struct {
	addr netAddr
	n    int
}

// muxWarmUp is one call of WarmUp.
type muxWarmUp struct {
	// immutable while the workers run
	pool     *Mux
	opt      remote.ConnOption
	failFast bool

	mu     sync.Mutex
	jobs   []muxWarmUpJob   // guarded by mu: not yet begun
	failed map[netAddr]bool // guarded by mu
	err    error            // guarded by mu: the first
}

// work runs on a goroutine of WarmUp's, until there is nothing left to do.
func (run *muxWarmUp) work() {
	for {
		job, ok := run.next()
		if !ok {
			return
		}
		if err := run.open(job); err != nil {
			run.mu.Lock()
			run.failed[job.addr] = true
			run.err = cmp.Or(run.err, err)
			run.mu.Unlock()
		}
	}
}

func (run *muxWarmUp) next() (job muxWarmUpJob, ok bool) {
	run.mu.Lock()
	defer run.mu.Unlock()
	for len(run.jobs) > 0 && (!run.failFast || run.err == nil) {
		job, run.jobs = run.jobs[0], run.jobs[1:]
		if !run.failed[job.addr] {
			return job, true
		}
	}
	return muxWarmUpJob{}, false
}

func (run *muxWarmUp) open(job muxWarmUpJob) error {
	for {
		t, err := run.pool.target(job.addr, run.opt)
		if err != nil {
			return err
		}
		if err = t.WarmUp(context.Background(), job.n); !run.pool.isGone(err, job.addr, t) {
			return err
		}
	}
}
