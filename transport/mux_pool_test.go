package transport

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/warmup"

	"github.com/kiteline/kiteline/mux"
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

// TestMuxPoolClean removes an address from discovery while a call is in flight. The call goes on,
// and then its connection is closed.
func TestMuxPoolClean(t *testing.T) {
	t.Parallel()
	service := newHeldService()
	svc := startService(t, newTestGroup(t), service)
	c, pool := newSharedClient(t, svc.address, MuxConfig{MaxConns: 1})
	share(t, c, pool)
	f := &muxFixture{client: c, pool: pool, service: service}
	done := f.held(context.Background(), t)
	old := pool.lookup(poolAddr{"tcp", svc.address})
	pool.Clean("tcp", svc.address)
	if st := pool.Stats(); len(st.Addresses) != 0 || st.InFlight != 1 || st.Dials != 1 {
		t.Errorf("got %+v, want no address, and a call that is counted", st)
	}
	if st := old.Stats(); st.Connections != 1 || st.Draining != 1 || st.InFlight != 1 {
		t.Errorf("got %+v, want one that drains", st)
	}
	share(t, c, pool) // on a new connection: the address may come back
	close(service.release)
	if err := receive(t, "call", done); err != nil {
		t.Error(err)
	}
	eventuallyTB(t, "the old connection is closed", func() bool { return old.Stats().Connections == 0 })
	pool.Clean("tcp", "127.0.0.1:1") // unknown
	pool.expire()
	pool.mu.Lock()
	if n := len(pool.retired); n != 0 {
		t.Errorf("%d cleaned addresses are still remembered", n)
	}
	pool.mu.Unlock()
	if st := pool.Stats(); st.Dials != 2 || st.Drains != 1 || st.InFlight != 0 {
		t.Errorf("got %+v, want the dials of both", st)
	}
	if _, err := old.Begin(context.Background(), time.Time{}); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("got %v, want a closed set", err)
	}
}

// TestMuxPoolCleanRace removes an address while calls to it begin. No call fails, and nothing is
// left when the pool is closed.
func TestMuxPoolCleanRace(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	svc := startService(t, newTestGroup(t), &serviceFuncs{})
	c, pool := newSharedClient(t, svc.address, MuxConfig{})
	share(t, c, pool)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for range 50 {
				if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		pool.Clean("tcp", svc.address)
		if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
			t.Error(err)
		}
	}
	callers.Wait()
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Repeat(context.Background(), "x", 1, ""); !errors.Is(err, ErrPoolClosed) {
		t.Errorf("got %v, want ErrPoolClosed", err)
	}
}

// TestMuxPoolCloseCleaned: Close fails the calls of an address that was removed before.
func TestMuxPoolCloseCleaned(t *testing.T) {
	t.Parallel()
	service := newHeldService()
	defer close(service.release)
	svc := startService(t, newTestGroup(t), service)
	c, pool := newSharedClient(t, svc.address, MuxConfig{MaxConns: 1})
	share(t, c, pool)
	f := &muxFixture{client: c, pool: pool, service: service}
	done := f.held(context.Background(), t)
	pool.Clean("tcp", svc.address)
	if err := pool.Close(); err != nil {
		t.Error(err)
	}
	if err := receive(t, "call", done); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("got %v, want mux.ErrClosed", err)
	}
}

// TestMuxPoolConnectTimeout: a dial has the connect timeout of the latest call.
func TestMuxPoolConnectTimeout(t *testing.T) {
	t.Parallel()
	pool := NewMuxPool("echo", MuxConfig{})
	defer pool.Close()
	d := &countingDialer{Dialer: NewDialer(WithGroup(newTestGroup(t)))}
	address := startEcho(t, newTestGroup(t))
	for _, timeout := range []time.Duration{time.Second, patience} {
		c, err := pool.Get(context.Background(), "tcp", address, remote.ConnOption{Dialer: d, ConnectTimeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() // one call at a time, since there was no reply: the next one dials
		if got := time.Duration(d.timeout.Load()); got != timeout {
			t.Errorf("dialled with %v, want %v", got, timeout)
		}
	}
}

// TestMuxPoolWarmUp: WarmUp opens connections before the first call, and no more than MaxConns.
func TestMuxPoolWarmUp(t *testing.T) {
	t.Parallel()
	pool := NewMuxPool("echo", MuxConfig{MaxConns: 3})
	defer pool.Close()
	d := &countingDialer{Dialer: NewDialer(WithGroup(newTestGroup(t)))}
	address, refused := startEcho(t, newTestGroup(t)), refusedAddress(t)
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

// TestMuxPoolReporter: the pool reports dials and calls once that is enabled.
func TestMuxPoolReporter(t *testing.T) {
	t.Parallel()
	svc, refused := startService(t, newTestGroup(t), &serviceFuncs{}), refusedAddress(t)
	report := func(address string) poolReport { return poolReports().take("echo", address) }
	report(svc.address)
	report(refused)
	c, pool := newSharedClient(t, svc.address, MuxConfig{MaxConns: 1})
	share(t, c, pool)
	if got := report(svc.address); got != (poolReport{}) {
		t.Errorf("reported before that was enabled: %+v", got)
	}
	pool.EnableReporter()
	pool.Clean("tcp", svc.address)
	share(t, c, pool)
	share(t, c, pool)
	_, err := pool.Get(context.Background(), "tcp", refused, remote.ConnOption{Dialer: NewDialer(WithGroup(newTestGroup(t))), ConnectTimeout: patience})
	if err == nil {
		t.Error("nobody listens there")
	}
	if got, want := report(svc.address), (poolReport{dials: 1, reuses: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := report(refused), (poolReport{failures: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestMuxPoolDump: Dump and DumpText show the state to programs and to people.
func TestMuxPoolDump(t *testing.T) {
	t.Parallel()
	service := newHeldService()
	svc := startService(t, newTestGroup(t), service)
	c, pool := newSharedClient(t, svc.address, MuxConfig{MaxConns: 1, MaxAge: time.Hour})
	share(t, c, pool)
	f := &muxFixture{client: c, pool: pool, service: service}
	done := f.held(context.Background(), t)
	text, err := json.Marshal(pool.Dump())
	if err != nil {
		t.Fatal(err)
	}
	var dump struct {
		Service   string
		Config    struct{ MaxConns int }
		Addresses []struct {
			Network, Address    string
			Connections, Shared int
			InFlight            int
			Frames              uint64
		}
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		t.Fatal(err)
	}
	if len(dump.Addresses) != 1 || dump.Service != "echo" || dump.Config.MaxConns != 1 {
		t.Fatalf("got %s", text)
	}
	if a := dump.Addresses[0]; a.Network != "tcp" || a.Address != svc.address || a.Connections != 1 || a.Shared != 1 || a.InFlight != 1 || a.Frames != 2 {
		t.Errorf("got %s", text)
	}
	var b strings.Builder
	eventuallyTB(t, "the caller reads", func() bool {
		b.Reset()
		if err := pool.DumpText(&b); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(b.String(), "read by a caller")
	})
	for _, want := range []string{"echo: tcp " + svc.address + ", peer shared: 1 connections", "shared, ", "1 in flight"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if want := errors.New("full"); !errors.Is(pool.DumpText(failingWriter{want}), want) {
		t.Error("a writer's error is lost")
	}
	close(service.release)
	if err := receive(t, "call", done); err != nil {
		t.Error(err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
