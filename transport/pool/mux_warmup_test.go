package pool

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/warmup"

	"github.com/kiteline/kiteline/internal/testkit"
)

// warmUpOf returns what has conns connections to each of addresses opened, parallel at a time.
func warmUpOf(conns, parallel int, addresses ...string) *warmup.PoolOption {
	return &warmup.PoolOption{Targets: map[string][]string{"tcp": addresses}, ConnNum: conns, Parallel: parallel}
}

// TestMuxWarmUp: WarmUp opens connections before the first call, and no more than MaxConns.
func TestMuxWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, d := NewMux("echo", MuxConfig{MaxConns: 3}), &silentDialer{}
		for _, n := range []int{2, 3, 10} {
			if err := pool.WarmUp(warmup.FailFast, warmUpOf(n, 0, "a"), d.option()); err != nil {
				t.Error(err)
			}
			if st, want := onlyStats(t, pool), min(n, 3); st.Connections != want || st.Probing != want {
				t.Errorf("got %+v, want %d connections", st, want)
			}
		}
		d.fail = func() error { return errFakeDial }
		both := warmUpOf(1, 0, "a", "refused")
		if err := pool.WarmUp(warmup.IgnoreError, both, d.option()); err != nil {
			t.Errorf("got %v, want it to be ignored", err)
		}
		if err := pool.WarmUp(warmup.ErrorLog, both, d.option()); !errors.Is(err, errFakeDial) {
			t.Errorf("got %v, want that one address refuses", err)
		}
		must(pool.Close())
		d.peers.Wait()
	})
}

// TestMuxWarmUpParallel: WarmUp opens as many connections at a time as it is told to.
func TestMuxWarmUpParallel(t *testing.T) {
	const conns = 8
	for _, parallel := range []int{0, 1, 3, 16, 100} {
		testkit.Bubble(t, fmt.Sprint(parallel), func(t *testing.T) {
			var mu sync.Mutex
			now, most := 0, 0
			note := func(change int) {
				mu.Lock()
				defer mu.Unlock()
				now += change
				most = max(most, now)
			}
			d := &silentDialer{
				delay: func() time.Duration { note(1); return time.Second },
				fail:  func() error { note(-1); return nil },
			}
			pool := NewMux("echo", MuxConfig{MaxConns: conns})
			if err := pool.WarmUp(warmup.FailFast, warmUpOf(conns, parallel, "a", "b"), d.option()); err != nil {
				t.Fatal(err)
			}
			for _, st := range pool.Stats().Addresses {
				if st.Connections != conns {
					t.Errorf("got %+v, want %d connections", st, conns)
				}
			}
			if want := min(max(parallel, 1), 2*conns); most > want || parallel > 1 && most == 1 {
				t.Errorf("%d dials at a time, want %d at most", most, want)
			}
			must(pool.Close())
			d.peers.Wait()
		})
	}
}

// TestMuxWarmUpFails: WarmUp does not go on with an address that refuses or, with FailFast,
// with any address.
func TestMuxWarmUpFails(t *testing.T) {
	for _, tc := range []struct {
		eh    warmup.ErrorHandling
		dials int64
		err   bool
	}{{warmup.FailFast, 1, true}, {warmup.ErrorLog, 2, true}, {warmup.IgnoreError, 2, false}} {
		testkit.Bubble(t, fmt.Sprint(tc.eh), func(t *testing.T) {
			d := &silentDialer{fail: func() error { return errFakeDial }}
			pool := NewMux("echo", MuxConfig{MaxConns: 4})
			err := pool.WarmUp(tc.eh, warmUpOf(4, 0, "a", "b"), d.option())
			if err != nil != tc.err || d.dials.Load() != tc.dials {
				t.Errorf("got %v after %d dials, want %d", err, d.dials.Load(), tc.dials)
			}
			must(pool.Close())
		})
	}
}
