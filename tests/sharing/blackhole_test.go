package sharing

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

const flowCallers = 12

// flowTimeouts are the timeouts of calls. A busy machine does not reach that of the short form.
func flowTimeouts() []time.Duration {
	if testkit.Long {
		return []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}
	}
	return []time.Duration{time.Second * min(testkit.Slowdown, 3)}
}

// When connections suddenly carry nothing, but new ones do, calls that share such a connection fail
// no more often than those that have one each.
func TestBlackhole(t *testing.T) {
	beside(t)
	for _, timeout := range flowTimeouts() {
		var failures [2][]int
		var took [2][]time.Duration
		for range testkit.Scale(1, 5) {
			for i, k := range kinds() {
				failed, back := blackholed(t, k, timeout)
				failures[i], took[i] = append(failures[i], failed), append(took[i], back)
			}
		}
		p, s := testkit.Median(failures[0]), testkit.Median(failures[1])
		name := fmt.Sprintf("flows blackholed, timeout %v: ", timeout)
		t.Logf("%sfailed calls: %v pooled, %v shared; after %v and %v", name, failures[0], failures[1], took[0], took[1])
		checkCount(t, name+"failed calls", s, 2*p)
		if testkit.Long {
			checkTime(t, name+"calls succeed again", testkit.Median(took[1]), max(2*time.Second, 2*timeout))
		}
	}
}

// blackholed returns how many calls with a timeout fail, and when the last of some callers has
// succeeded again.
func blackholed(t *testing.T, k kind, timeout time.Duration) (failed int, back time.Duration) {
	t.Helper()
	const used = 20
	s := startAt(t, newGate(), nil)
	proxy := harness.NewProxy(t, s.Addr)
	c := newCaller(t, k, proxy.Addr, pool.MuxConfig{}, client.WithRPCTimeout(timeout))
	var warm sync.WaitGroup
	warm.Add(flowCallers)
	var dead atomic.Bool
	var failures atomic.Int64
	callers := start(flowCallers, func(int) error {
		for n := 0; ; n++ {
			after := dead.Load()
			err := c.call()
			switch {
			case after && err == nil:
				return nil
			case failures.Load() > 10*flowCallers: // it does not recover
				return err
			case err != nil && dead.Load():
				failures.Add(1)
			case err != nil:
				t.Errorf("a call before: %v", err)
			}
			if n == used {
				warm.Done()
			}
		}
	})
	warm.Wait()
	dead.Store(true)
	proxy.Blackhole()
	began := time.Now()
	<-callers.done // each of its calls has a timeout
	if errs := callers.failed(); len(errs) > 0 {
		t.Errorf("%v: calls still fail: %v", k, errs[0])
	}
	return int(failures.Load()), time.Since(began)
}
