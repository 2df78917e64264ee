package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/conn"
)

// newApartPool makes a pool with idle connections to one address that are not shared.
func newApartPool(t *testing.T, d *silentDialer, cfg MuxConfig, conns int) *Mux {
	t.Helper()
	pool := NewMux("test", cfg)
	var got []net.Conn
	for range conns {
		c, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	for _, c := range got {
		if err := exchangeFrames(c); err != nil {
			t.Fatal(err)
		}
		must(pool.Put(c))
	}
	synctest.Wait()
	if idle := pool.apart.Stats().Idle; idle != conns {
		t.Fatalf("%d idle, want %d: %+v", idle, conns, pool.Stats())
	}
	return pool
}

// TestApartLimit: MaxPooledConns limits the connections that are not shared. Calls that find none
// wait in the order of their arrival, or fail, as the configuration says. Calls whose time is over
// leave.
func TestApartLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &silentDialer{echoes: true}
		pool := newApartPool(t, d, MuxConfig{MaxConns: 1, MaxPooledConns: 3}, 3)
		get := func(ctx context.Context) net.Conn {
			c, err := pool.Get(ctx, "tcp", fakeAddress, d.option())
			if err != nil {
				t.Error(err)
			}
			return c
		}
		var held []net.Conn
		for range 3 {
			c := get(t.Context())
			if err := exchangeFrames(c); err != nil {
				t.Fatal(err)
			}
			held = append(held, c)
		}
		const callers = 10
		var order []int
		var waiting sync.WaitGroup
		for i := range callers {
			waiting.Go(func() {
				c := get(t.Context())
				order = append(order, i)
				if err := exchangeFrames(c); err != nil {
					t.Error(err)
				}
				must(pool.Put(c))
			})
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := exchangeFrames(get(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want no place in time", err)
		}
		if st := onlyStats(t, pool); st.Waiting != callers || st.Pooled != 3 || st.InFlight != 3 || st.Dials != 3 {
			t.Errorf("got %+v", st)
		}
		must(pool.Put(held[0]))
		waiting.Wait()
		if !slices.IsSorted(order) || len(order) != callers {
			t.Errorf("served in the order %v", order)
		}
		for _, c := range held[1:] {
			must(pool.Discard(c))
		}
		synctest.Wait()
		if st := onlyStats(t, pool); st.Pooled != 1 || st.InFlight+st.Waiting != 0 || d.open.Load() != 1 {
			t.Errorf("got %+v, %d open", st, d.open.Load())
		}
		must(pool.Close())
		d.peers.Wait()
	})
}

// TestApartAllocations: taking an idle connection that is not shared, and giving it back, allocates
// nothing.
func TestApartAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector has pools drop what they are given")
	}
	synctest.Test(t, func(t *testing.T) {
		d := &silentDialer{echoes: true}
		pool := newApartPool(t, d, MuxConfig{}, 1)
		opt := d.option()
		if n := testing.AllocsPerRun(100, func() {
			c, err := pool.Get(t.Context(), "tcp", fakeAddress, opt)
			if err != nil {
				t.Fatal(err)
			}
			must(pool.Put(c))
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
		if st := onlyStats(t, pool); st.Dials != 1 {
			t.Errorf("got %+v", st)
		}
		must(pool.Close())
		d.peers.Wait()
	})
}

// TestApartWaitsForDial: a call that waits gets the connection that is opened when there is room
// again.
func TestApartWaitsForDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &silentDialer{echoes: true}
		pool := newApartPool(t, d, MuxConfig{MaxConns: 1, MaxPooledConns: 1}, 1)
		first, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			c, err := pool.Get(context.Background(), "tcp", fakeAddress, d.option())
			if err == nil {
				err = exchangeFrames(c)
				must(pool.Put(c))
			}
			done <- err
		}()
		synctest.Wait()
		must(pool.Discard(first))
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if st := onlyStats(t, pool); st.Dials != 2 || st.Pooled != 1 || st.Waiting != 0 {
			t.Errorf("got %+v", st)
		}
		must(pool.Close())
		d.peers.Wait()
	})
}

// TestApartFailFast: with FailFast a call fails at once if all connections are taken, and is served
// if one is free.
func TestApartFailFast(t *testing.T) {
	captureLogs(t)
	synctest.Test(t, func(t *testing.T) {
		d := &silentDialer{echoes: true}
		pool := newApartPool(t, d, MuxConfig{MaxConns: 1, MaxPooledConns: 2, Overload: mux.FailFast}, 1)
		var held []net.Conn
		for i := range 3 {
			c, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option())
			if err != nil {
				t.Fatal(err)
			}
			err = exchangeFrames(c)
			if full := i == 2; full != errors.Is(err, mux.ErrOverloaded) {
				t.Errorf("call %d: got %v", i, err)
			}
			held = append(held, c)
		}
		must(pool.Put(held[0]))
		c, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option())
		if err != nil || exchangeFrames(c) != nil {
			t.Errorf("got %v", err)
		}
		if st := onlyStats(t, pool); st.Overloads != 1 || st.Waiting != 0 {
			t.Errorf("got %+v", st)
		}
		must(pool.Put(c))
		must(pool.Put(held[1]))
		must(pool.Close())
		d.peers.Wait()
	})
}

// TestApartAge: connections that are not shared are closed when they have been idle for too long or
// are too old. Then their address is forgotten, and their figures stay in the sums.
func TestApartAge(t *testing.T) {
	for name, cfg := range map[string]MuxConfig{
		"idle": {IdleTimeout: 10 * time.Second},
		"old":  {IdleTimeout: time.Hour, MaxAge: 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &silentDialer{echoes: true}
			pool := newApartPool(t, d, cfg, 3)
			time.Sleep(8 * time.Second)
			if st := onlyStats(t, pool); st.Pooled != 3 || d.open.Load() != 3 {
				t.Errorf("%s: too early: %+v, %d open", name, st, d.open.Load())
			}
			time.Sleep(4 * time.Second)
			synctest.Wait()
			st := onlyStats(t, pool)
			if st.Pooled != 0 || d.open.Load() != 0 || st.Drains != 3 || st.Deaths != 0 || (st.Aged == 3) != (name == "old") {
				t.Errorf("%s: got %+v, %d open", name, st, d.open.Load())
			}
			time.Sleep(3 * pool.config.forgetAfter())
			if sums := pool.Stats(); len(sums.Addresses) != 0 || sums.Drains != 3 || sums.Connections != 0 {
				t.Errorf("%s: afterwards: %+v", name, sums)
			}
			must(pool.Close())
			d.peers.Wait()
		})
	}
}

// TestApartEnds: Clean closes unshared connections at once if they are idle, and otherwise when
// they are put back. Close closes all of them.
func TestApartEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &silentDialer{echoes: true}
		pool := newApartPool(t, d, MuxConfig{}, 3)
		get := func() net.Conn {
			c, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		used := get()
		pool.Clean("tcp", fakeAddress)
		synctest.Wait()
		if err := exchangeFrames(used); err != nil || d.open.Load() != 1 {
			t.Errorf("after Clean: got %v, %d open", err, d.open.Load())
		}
		must(pool.Put(used))
		synctest.Wait()
		if d.open.Load() != 0 {
			t.Errorf("%d open", d.open.Load())
		}
		idle, used := get(), get()
		for _, c := range []net.Conn{idle, used} {
			if err := exchangeFrames(c); err != nil {
				t.Error(err)
			}
			must(pool.Put(c))
		}
		synctest.Wait()
		used = get()
		var text strings.Builder
		if err := pool.DumpText(&text); err != nil || !strings.Contains(text.String(), "not shared: ") || !strings.Contains(text.String(), "2 handed over") {
			t.Errorf("got %q, %v", text.String(), err)
		}
		must(pool.Close())
		if err := exchangeFrames(used); err == nil {
			t.Error("a call goes on after Close")
		}
		must(pool.Put(used))
		if _, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option()); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if st := pool.Stats(); st.Connections+st.InFlight+st.Waiting != 0 {
			t.Errorf("after Close: %+v", st)
		}
		d.peers.Wait()
	})
}

// TestApartIdleLife: as a Pool does, a Mux learns when a server closes idle connections, so
// that no call begins on a connection that the server is about to close.
func TestApartIdleLife(t *testing.T) {
	t.Parallel()
	const life = 200 * time.Millisecond
	d := newGroupDialer(t)
	if errors.Is(d.inner.Group.Resize(1), errors.ErrUnsupported) {
		t.Skip("without a poller a pool sees a server's end at the next use")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer ln.Close()
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer nc.Close()
				p := make([]byte, 1<<10)
				for {
					_ = nc.SetReadDeadline(time.Now().Add(life))
					n, err := nc.Read(p)
					if err != nil {
						return
					}
					if _, err := nc.Write(p[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	pool := NewMux("test", MuxConfig{})
	defer pool.Close()
	address := ln.Addr().String()
	opt := remote.ConnOption{Dialer: d, ConnectTimeout: patience}
	learned := time.Duration(0)
	for range 20 { // a busy machine makes some of them longer
		c, err := pool.Get(t.Context(), "tcp", address, opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := exchangeFrames(c); err != nil {
			t.Fatal(err)
		}
		must(pool.Put(c))
		testkit.Eventually(t, "the server's end", func() bool { return onlyStats(t, pool).Connections == 0 })
		pr := pool.apart.lookup(netAddr{"tcp", address})
		pr.mu.Lock()
		learned = pr.life.length
		pr.mu.Unlock()
		if learned > 0 {
			break
		}
	}
	if learned < life*9/10 {
		t.Errorf("learned %v, want %v", learned, life)
	}
	if st := onlyStats(t, pool); st.Deaths == 0 || st.Deaths != st.Dials {
		t.Errorf("got %+v", st)
	}
}

// TestApartForeignDialer: a connection that no poller of Kiteline's watches is not used once the
// connection below it says that it has ended.
func TestApartForeignDialer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := new(sync.WaitGroup)
		dials := 0
		var last *mortalConn
		d := dialFunc(func() (net.Conn, error) {
			dials++
			near, peer := net.Pipe()
			far.Go(func() { _, _ = io.Copy(peer, peer) })
			last = &mortalConn{Conn: near}
			return last, nil
		})
		pool := NewMux("test", MuxConfig{})
		for n := range 3 {
			c, err := pool.Get(t.Context(), "tcp", fakeAddress, remote.ConnOption{Dialer: d})
			if err != nil {
				t.Fatal(err)
			}
			if err := exchangeFrames(c); err != nil {
				t.Fatal(err)
			}
			must(pool.Put(c))
			synctest.Wait()
			if dials != n+1 {
				t.Errorf("%d dials after call %d", dials, n)
			}
			last.gone.Store(true)
		}
		must(pool.Close())
		far.Wait()
	})
}

// mortalConn is a connection that can tell when it has ended.
type mortalConn struct {
	net.Conn
	gone atomic.Bool
}

func (c *mortalConn) IsActive() bool { return !c.gone.Load() }

// dialFunc is a dialer.
type dialFunc func() (net.Conn, error)

// DialTimeout implements remote.Dialer.
func (f dialFunc) DialTimeout(string, string, time.Duration) (net.Conn, error) { return f() }

// TestApartAfterClean: a connection of an address that was cleaned is closed, not kept.
func TestApartAfterClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &silentDialer{echoes: true}
		pool := newApartPool(t, d, MuxConfig{}, 1)
		retired := pool.lookup(netAddr{"tcp", fakeAddress})
		pool.Clean("tcp", fakeAddress)
		near, err := d.DialTimeout("tcp", fakeAddress, 0)
		if err != nil {
			t.Fatal(err)
		}
		c, err := conn.New(near, conn.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		pool.keepApart(netAddr{"tcp", fakeAddress}, retired, c)
		synctest.Wait()
		if st := pool.apart.Stats(); st.Open != 0 || d.open.Load() != 0 {
			t.Errorf("got %+v, %d open", st, d.open.Load())
		}
		must(pool.Close())
		d.peers.Wait()
	})
}

// TestApartCleanBeside: a connection is also closed if the address is cleaned while the pool takes
// it, whether or not another connection is in use.
func TestApartCleanBeside(t *testing.T) {
	for _, used := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := &silentDialer{echoes: true}
			pool := newApartPool(t, d, MuxConfig{}, 1)
			addr := netAddr{"tcp", fakeAddress}
			c, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option())
			if err != nil {
				t.Fatal(err)
			}
			if !used {
				must(pool.Discard(c))
			}
			near, err := d.DialTimeout("tcp", fakeAddress, 0)
			if err != nil {
				t.Fatal(err)
			}
			pool.apart.adopt(addr, near, func() bool {
				isWanted := pool.lookup(addr) != nil
				pool.Clean("tcp", fakeAddress)
				return isWanted
			})
			must(pool.Put(c))
			synctest.Wait()
			if st := pool.apart.Stats(); st.Open != 0 || d.open.Load() != 0 {
				t.Errorf("another in use %v: got %+v, %d open", used, st, d.open.Load())
			}
			must(pool.Close())
			d.peers.Wait()
		})
	}
}

// onewayContext returns a context of a oneway call.
func onewayContext(ctx context.Context) context.Context {
	call := rpcinfo.NewInvocation("echo", "Notify")
	call.SetMethodInfo(serviceinfo.NewMethodInfo(nil, nil, nil, true))
	to := rpcinfo.NewEndpointInfo("echo", "Notify", nil, nil)
	return rpcinfo.NewCtxWithRPCInfo(ctx, rpcinfo.NewRPCInfo(nil, to, call, nil, nil))
}

// TestApartOnewayUndialed: a oneway leaves idle connections alone while another one can be opened.
// If the dial fails, or other calls take the new connection, it uses an idle one at once.
func TestApartOnewayUndialed(t *testing.T) {
	for _, policy := range []mux.Overload{mux.WaitForRoom, mux.FailFast} {
		synctest.Test(t, func(t *testing.T) {
			failing := false
			d := &silentDialer{echoes: true, fail: func() error {
				time.Sleep(time.Second)
				if failing {
					return errors.New("no more connections")
				}
				return nil
			}}
			pool := newApartPool(t, d, MuxConfig{IdleTimeout: time.Hour, MaxPooledConns: 4, Overload: policy}, 3)
			failing = true
			for n := range 3 {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				c, err := pool.Get(onewayContext(ctx), "tcp", fakeAddress, d.option())
				if err != nil {
					t.Fatal(err)
				}
				err = exchangeFrames(c)
				if took := time.Since(began); err != nil || took > time.Second {
					t.Errorf("%v, call %d: got %v after %v", policy, n, err, took)
				}
				must(pool.Put(c))
				cancel()
			}
			failing = false
			time.Sleep(time.Minute)
			var oneways sync.WaitGroup
			for range 4 { // one connection can be opened
				oneways.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					c, err := pool.Get(onewayContext(ctx), "tcp", fakeAddress, d.option())
					if err != nil || exchangeFrames(c) != nil {
						t.Errorf("%v: got %v", policy, err)
					}
					time.Sleep(time.Hour / 2)
					must(pool.Put(c))
				})
			}
			oneways.Wait()
			must(pool.Close())
			d.peers.Wait()
		})
	}
}
