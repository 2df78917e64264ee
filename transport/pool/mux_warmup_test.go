package pool

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/warmup"
)

// countingDialer counts dials and records the last one's timeout.
type countingDialer struct {
	remote.Dialer
	dials   atomic.Int64
	timeout atomic.Int64
}

func (d *countingDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	d.dials.Add(1)
	d.timeout.Store(int64(timeout))
	return d.Dialer.DialTimeout(network, address, timeout)
}

// TestMuxPoolWarmUp: WarmUp opens connections before the first call, and no more than MaxConns.
func TestMuxPoolWarmUp(t *testing.T) {
	t.Parallel()
	pool := NewMux("echo", MuxConfig{MaxConns: 3})
	defer pool.Close()
	d := &countingDialer{Dialer: newGroupDialer(t)}
	address, refused := newLoopback(t).Addr().String(), refusedAddresses(t, 1)[0]
	opt := remote.ConnOption{Dialer: d, ConnectTimeout: patience}
	for _, n := range []int{2, 3, 10} {
		want := min(n, 3)
		if err := pool.WarmUp(warmup.FailFast, &warmup.PoolOption{Targets: map[string][]string{"tcp": {address}}, ConnNum: n}, opt); err != nil {
			t.Error(err)
		}
		if st := onlyStats(t, pool); st.Connections != want || st.Probing != want {
			t.Errorf("got %+v, want %d connections", st, want)
		}
	}
	both := &warmup.PoolOption{Targets: map[string][]string{"tcp": {address, refused}}, ConnNum: 1}
	if err := pool.WarmUp(warmup.IgnoreError, both, opt); err != nil {
		t.Errorf("got %v, want it to be ignored", err)
	}
	if err := pool.WarmUp(warmup.ErrorLog, both, opt); err == nil {
		t.Error("nobody was told that one address refuses")
	}
}

// slowDialer records the most dials in progress at a time.
type slowDialer struct {
	remote.Dialer
	mu       sync.Mutex
	now, max int
}

func (d *slowDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	d.mu.Lock()
	d.now++
	d.max = max(d.max, d.now)
	d.mu.Unlock()
	<-time.After(5 * time.Millisecond) // gives others time to begin
	defer func() {
		d.mu.Lock()
		d.now--
		d.mu.Unlock()
	}()
	return d.Dialer.DialTimeout(network, address, timeout)
}

// TestMuxPoolWarmUpParallel: WarmUp opens as many connections at a time as it is told to.
func TestMuxPoolWarmUpParallel(t *testing.T) {
	t.Parallel()
	const conns = 8
	addresses := []string{newLoopback(t).Addr().String(), newLoopback(t).Addr().String()}
	for _, parallel := range []int{0, 1, 3, 16, 100} {
		t.Run(fmt.Sprint(parallel), func(t *testing.T) {
			t.Parallel()
			pool := NewMux("echo", MuxConfig{MaxConns: conns})
			defer pool.Close()
			d := &slowDialer{Dialer: newGroupDialer(t)}
			opt := &warmup.PoolOption{Targets: map[string][]string{"tcp": addresses}, ConnNum: conns, Parallel: parallel}
			if err := pool.WarmUp(warmup.FailFast, opt, remote.ConnOption{Dialer: d, ConnectTimeout: patience}); err != nil {
				t.Fatal(err)
			}
			for _, st := range pool.Stats().Addresses {
				if st.Connections != conns {
					t.Errorf("got %+v, want %d connections", st, conns)
				}
			}
			if most := min(max(parallel, 1), 2*conns); d.max > most || parallel > 1 && d.max == 1 {
				t.Errorf("%d dials at a time, want %d at most", d.max, most)
			}
		})
	}
}

// TestMuxPoolWarmUpFails: WarmUp does not go on with an address that refuses or, with FailFast,
// with any address.
func TestMuxPoolWarmUpFails(t *testing.T) {
	refused := refusedAddresses(t, 2)
	for _, tc := range []struct {
		eh    warmup.ErrorHandling
		dials int64
		err   bool
	}{{warmup.FailFast, 1, true}, {warmup.ErrorLog, 2, true}, {warmup.IgnoreError, 2, false}} {
		pool := NewMux("echo", MuxConfig{MaxConns: 4})
		defer pool.Close()
		d := &countingDialer{Dialer: newGroupDialer(t)}
		opt := &warmup.PoolOption{Targets: map[string][]string{"tcp": refused}, ConnNum: 4}
		err := pool.WarmUp(tc.eh, opt, remote.ConnOption{Dialer: d, ConnectTimeout: patience})
		if err != nil != tc.err || d.dials.Load() != tc.dials {
			t.Errorf("%v: got %v after %d dials, want %d", tc.eh, err, d.dials.Load(), tc.dials)
		}
	}
}
