package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/warmup"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
)

// silentDialer makes connections, without sockets, to peers that read and send nothing, or send
// everything back.
type silentDialer struct {
	echoes bool
	delay  func() time.Duration // how long a dial takes; nil: no time
	fail   func() error         // called at the end of each dial; nil: none fails
	dials  atomic.Int64
	open   atomic.Int64 // connections that this side has not closed
	peers  sync.WaitGroup

	mu   sync.Mutex
	last net.Conn // guarded by mu: the far end of the newest connection
}

// DialTimeout implements remote.Dialer.
func (d *silentDialer) DialTimeout(string, string, time.Duration) (net.Conn, error) {
	d.dials.Add(1)
	if d.delay != nil {
		time.Sleep(d.delay())
	}
	if d.fail != nil {
		if err := d.fail(); err != nil {
			return nil, err
		}
	}
	near, far := net.Pipe()
	d.mu.Lock()
	d.last = far
	d.mu.Unlock()
	d.open.Add(1)
	d.peers.Go(func() {
		out := io.Writer(far)
		if !d.echoes {
			out = io.Discard
		}
		_, _ = io.Copy(out, far)
		_ = far.Close()
		d.open.Add(-1)
	})
	return near, nil
}

// kill has the peer of the newest connection close it.
func (d *silentDialer) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil {
		_ = d.last.Close()
	}
}

func (d *silentDialer) option() remote.ConnOption {
	return remote.ConnOption{Dialer: d, ConnectTimeout: time.Second}
}

// TestMuxManyAddresses calls a hundred thousand addresses once each. The last ones cost what
// the first ones did, and when all are forgotten nothing of them is left.
func TestMuxManyAddresses(t *testing.T) {
	const parts = 10
	each := uint64(10_000)
	if testkit.Race {
		each = 1000 // the race detector is slow
	}
	synctest.Test(t, func(t *testing.T) {
		pool := NewMux("test", MuxConfig{})
		defer pool.Close()
		over, cancel := context.WithCancel(t.Context())
		cancel() // so that nothing is dialed
		d := &silentDialer{}
		opt := d.option()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		empty := before.HeapAlloc
		var first uint64 // bytes for each address of the first part
		for part := range parts {
			runtime.ReadMemStats(&before)
			for i := range each {
				c, err := pool.Get(over, "tcp", fmt.Sprintf("10.%d.%d.%d:80", part, i/250, i%250), opt)
				if err != nil {
					t.Fatal(err)
				}
				_ = pool.Discard(c)
			}
			runtime.ReadMemStats(&after)
			took := (after.TotalAlloc - before.TotalAlloc) / each
			t.Logf("part %d: %d bytes for each address", part, took)
			if part == 0 {
				first = took
			}
			if took > 2*first {
				t.Fatalf("%d bytes for each address of part %d, and %d for one of the first", took, part, first)
			}
		}
		if n := len(pool.Stats().Addresses); n != parts*int(each) {
			t.Errorf("%d addresses known, want %d", n, parts*each)
		}
		time.Sleep(2*pool.config.forgetAfter() + pool.config.forgetAfter()/4)
		synctest.Wait()
		if st := pool.Stats(); len(st.Addresses) != 0 || st.Dials != 0 {
			t.Errorf("%d addresses known, and %d dials, want none", len(st.Addresses), st.Dials)
		}
		var left int64
		for range 10 { // a sync.Pool, or an ending goroutine, frees later
			runtime.GC()
			runtime.ReadMemStats(&after)
			if left = (int64(after.HeapAlloc) - int64(empty)) / int64(parts*each); left <= 50 {
				break
			}
		}
		t.Logf("%d bytes left of each address", left)
		if left > 50 {
			t.Errorf("%d bytes left of each address, want none", left)
		}
		if at := pool.expiry.at.Load(); at != int64(forever) {
			t.Errorf("the timer is set for %v although nothing is known", instant(at))
		}
	})
}

// TestMuxForgets follows an address. It stays known while it has a connection, a call or a
// dial. Then it is forgotten, and its counts stay.
func TestMuxForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &silentDialer{}
		pool := NewMux("test", MuxConfig{IdleTimeout: time.Second})
		known := func() bool { synctest.Wait(); return len(pool.Stats().Addresses) == 1 }
		get := func() net.Conn {
			c, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := get()
		time.Sleep(time.Minute)
		if !known() {
			t.Error("forgotten with a call")
		}
		_ = pool.Put(c)
		time.Sleep(10 * time.Second) // the connection is closed when idle
		if st := pool.Stats(); known() || st.Connections != 0 || st.Dials != 1 || st.Drains != 1 {
			t.Errorf("got %+v, want no address, and its counts", st)
		}
		d.delay = func() time.Duration { return time.Minute }
		go func() { _ = pool.Put(get()) }()
		time.Sleep(30 * time.Second)
		if st := pool.Stats(); !known() || st.Dialing != 1 || st.Waiting != 1 {
			t.Errorf("got %+v, want a dial", st)
		}
		time.Sleep(time.Minute)
		if st := pool.Stats(); known() || st.Dials != 2 {
			t.Errorf("got %+v, want no address, and the counts of both times", st)
		}
		d.delay, d.fail = nil, func() error { return errFakeDial }
		for range 20 { // a call uses it, though it has no connection
			if _, err := pool.Get(t.Context(), "tcp", fakeAddress, d.option()); !errors.Is(err, errFakeDial) {
				t.Errorf("got %v, want a failed dial", err)
			}
			time.Sleep(900 * time.Millisecond)
			if !known() {
				t.Fatal("forgotten between calls")
			}
		}
		d.fail = nil
		_ = pool.Put(get())
		_ = pool.Close()
		_ = pool.Close()
		if st := pool.Stats(); known() || st.Dials != 23 || st.DialErrors != 20 || st.Connections != 0 {
			t.Errorf("after Close: got %+v", st)
		}
		d.peers.Wait()
	})
}

// muxPoolModel drives a Mux at random and knows what must be true in between.
type muxPoolModel struct {
	t    *testing.T
	pool *Mux
	d    *silentDialer
	rnd  *rand.Rand
	last mux.Stats            // the sums at the last check
	used map[string]time.Time // when an address was last wanted or in use
	kill bool                 // peers may close connections

	mu      sync.Mutex
	held    []net.Conn                 // guarded by mu
	cancels map[int]context.CancelFunc // guarded by mu: of calls of Get in progress
	closed  bool                       // guarded by mu
	calls   int                        // guarded by mu: how many there were
}

func (m *muxPoolModel) get() {
	ctx, cancel := context.WithCancel(context.Background())
	address := modelAddresses[m.rnd.IntN(len(modelAddresses))]
	m.used[address] = time.Now()
	m.mu.Lock()
	m.calls++
	call := m.calls
	m.cancels[call] = cancel
	m.mu.Unlock()
	go func() {
		c, err := m.pool.Get(ctx, "tcp", address, m.d.option())
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.cancels, call)
		if _, none := c.(*RefusedCall); c != nil && !none {
			m.held = append(m.held, c)
			return
		}
		if err == nil { // it got no place, and its connection says why
			_, err = c.Write(nil)
		}
		switch {
		case errors.Is(err, context.Canceled), errors.Is(err, errFakeDial):
		case m.kill && errors.Is(err, io.EOF), m.closed && errors.Is(err, ErrClosed):
		default:
			m.t.Errorf("got %v", err)
		}
	}()
}

func (m *muxPoolModel) put() {
	m.mu.Lock()
	var c net.Conn
	if n := len(m.held); n > 0 {
		i := m.rnd.IntN(n)
		c = m.held[i]
		m.held = slices.Delete(m.held, i, i+1)
	}
	m.mu.Unlock()
	if c == nil {
		return
	}
	if m.d.echoes && m.rnd.IntN(2) == 0 {
		if err := exchangeFrames(c); err != nil && !m.kill && !m.closed {
			m.t.Errorf("a call: %v", err)
		}
	}
	if m.rnd.IntN(10) == 0 {
		must(m.pool.Discard(c))
		return
	}
	must(m.pool.Put(c))
}

func (m *muxPoolModel) cancel() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cancel := range m.cancels {
		cancel()
		return
	}
}

func (m *muxPoolModel) step() {
	address := modelAddresses[m.rnd.IntN(len(modelAddresses))]
	switch n := m.rnd.IntN(100); {
	case n < 35:
		m.get()
	case n < 65:
		m.put()
	case n < 72:
		m.pool.Clean("tcp", address)
	case n < 78:
		m.pool.expire()
	case n < 84:
		m.cancel()
	case n < 87 && m.kill:
		m.d.kill()
	case n < 90:
		m.used[address] = time.Now()
		_ = m.pool.WarmUp(warmup.IgnoreError, &warmup.PoolOption{Targets: map[string][]string{"tcp": {address}}, ConnNum: 2}, m.d.option())
	case n < 98:
		time.Sleep(time.Duration(m.rnd.IntN(500)) * time.Millisecond)
	default:
		time.Sleep(time.Duration(m.rnd.IntN(60)) * time.Second)
	}
}

// check compares the pool with the model while nothing runs.
func (m *muxPoolModel) check() {
	st := m.pool.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case st.InFlight > len(m.held) || !m.kill && st.InFlight != len(m.held):
		m.t.Fatalf("%d in flight, want %d", st.InFlight, len(m.held))
	case int64(st.Dials) != m.d.dials.Load():
		m.t.Fatalf("%d dials counted, want %d", st.Dials, m.d.dials.Load())
	case int64(st.Connections) < m.d.open.Load(), !m.kill && int64(st.Connections) != m.d.open.Load():
		// A connection that its peer closed counts until it is read.
		m.t.Fatalf("%d connections counted, want %d", st.Connections, m.d.open.Load())
	}
	wantNoFall(m.t, &m.last, &st.Stats)
	for _, a := range st.Addresses {
		if a.Connections+a.Dialing+a.Waiting > 0 {
			m.used[a.Address] = time.Now()
		}
		// Its connections are closed within 1.5 times the idle time, and it is forgotten within
		// another 2.1 times that.
		if age := time.Since(m.used[a.Address]); age > 4*m.pool.config.IdleTimeout {
			m.t.Fatalf("%s is known, and of no use since %v", a.Address, age)
		}
	}
}

// wantNoFall fails if a count in now is below the one in last. Then it copies now to last.
func wantNoFall(t *testing.T, last, now *mux.Stats) {
	t.Helper()
	before, after := reflect.ValueOf(last).Elem(), reflect.ValueOf(now).Elem()
	for i := range before.NumField() {
		if f := before.Field(i); f.Kind() == reflect.Uint64 && after.Field(i).Uint() < f.Uint() {
			t.Fatalf("%s fell from %d to %d", before.Type().Field(i).Name, f.Uint(), after.Field(i).Uint())
		}
	}
	*last = *now
}

// TestMuxModel interleaves Get, Put, Clean, WarmUp, the forgetting of addresses, and Close.
func TestMuxModel(t *testing.T) {
	seeds, steps := 20, 1000
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(uint64(seed), 8))
			var diceMu sync.Mutex
			roll := func(n int) int { diceMu.Lock(); defer diceMu.Unlock(); return dice.IntN(n) }
			m := &muxPoolModel{
				t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 7)), kill: seed%2 == 1,
				used: make(map[string]time.Time), cancels: make(map[int]context.CancelFunc),
				d: &silentDialer{
					echoes: seed%4 >= 2,
					delay:  func() time.Duration { return time.Duration(roll(200)) * time.Millisecond },
					fail: func() error {
						if roll(5) == 0 {
							return errFakeDial
						}
						return nil
					},
				},
			}
			m.pool = NewMux("test", MuxConfig{MaxConns: 1 + roll(3), MaxPooledConns: 1 + roll(4), IdleTimeout: 5 * time.Second})
			for range steps {
				m.step()
				synctest.Wait()
				m.check()
			}
			m.mu.Lock()
			m.closed = true
			m.mu.Unlock()
			must(m.pool.Close())
			synctest.Wait()
			for len(m.held) > 0 {
				m.put()
			}
			st := m.pool.Stats()
			wantNoFall(t, &m.last, &st.Stats)
			if st.Connections+st.Dialing+st.Waiting+st.InFlight != 0 || len(st.Addresses) != 0 || int64(st.Dials) != m.d.dials.Load() {
				t.Fatalf("after Close: got %+v, and %d dials", st, m.d.dials.Load())
			}
			if len(m.cancels) != 0 {
				t.Fatalf("%d calls of Get go on", len(m.cancels))
			}
			m.d.peers.Wait()
		})
	}
}

// TestMuxForgetRace forgets and cleans an address while calls to it begin. No call fails.
func TestMuxForgetRace(t *testing.T) {
	t.Parallel()
	d := &silentDialer{}
	pool := NewMux("test", MuxConfig{MaxPooledConns: 100})
	var callers, others sync.WaitGroup
	done := make(chan struct{})
	for range 8 {
		callers.Go(func() {
			for range 300 {
				c, err := pool.Get(context.Background(), "tcp", fakeAddress, d.option())
				if err != nil {
					t.Error(err)
					return
				}
				_ = pool.Put(c)
			}
		})
	}
	others.Go(func() {
		var last mux.Stats
		for {
			select {
			case <-done:
				return
			default:
			}
			pool.Clean("tcp", fakeAddress)
			pool.expire()
			st := pool.Stats()
			wantNoFall(t, &last, &st.Stats)
		}
	})
	callers.Wait()
	close(done)
	others.Wait()
	_ = pool.Close()
	if st := pool.Stats(); int64(st.Dials) != d.dials.Load() || st.Connections != 0 {
		t.Errorf("got %+v, want %d dials", st, d.dials.Load())
	}
	d.peers.Wait()
}
