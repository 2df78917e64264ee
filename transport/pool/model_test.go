package pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// poolModel drives a pool at random and knows what must be true in between.
type poolModel struct {
	t    *testing.T
	pool *Pool
	d    *fakePoolDialer
	rnd  *rand.Rand

	mu      sync.Mutex
	held    []net.Conn
	former  []net.Conn // checkouts that have ended
	cancels []context.CancelFunc
	calls   int // calls of Get in progress
}

var modelAddresses = []string{"a", "b", "c"}

func (m *poolModel) address() string { return modelAddresses[m.rnd.IntN(len(modelAddresses))] }

func (m *poolModel) get() {
	ctx, cancel := context.WithCancel(context.Background())
	address := m.address()
	m.mu.Lock()
	m.cancels = append(m.cancels, cancel)
	m.calls++
	m.mu.Unlock()
	go func() {
		c, err := m.pool.Get(ctx, "tcp", address, m.d.option())
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls--
		switch {
		case err == nil:
			if fake := fakeOf(c); fake.users.Add(1) != 1 || fake.closed.Load() || fake.dead.Load() || fake.address != address {
				m.t.Errorf("got a connection that is in use, closed, dead or another's: %+v", fake)
			}
			m.held = append(m.held, c)
		case !errors.Is(err, context.Canceled) && !errors.Is(err, errFakeDial):
			m.t.Errorf("got %v", err)
		}
	}()
}

// take removes a connection from those held.
func (m *poolModel) take() net.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.held) == 0 {
		return nil
	}
	i := m.rnd.IntN(len(m.held))
	c := m.held[i]
	m.held = slices.Delete(m.held, i, i+1)
	fakeOf(c).users.Add(-1)
	if m.former = append(m.former, c); len(m.former) > 2 { // as many as a connection remembers
		m.former = m.former[1:]
	}
	return c
}

func (m *poolModel) step() {
	switch n := m.rnd.IntN(100); {
	case n < 40:
		m.get()
	case n < 65:
		if c := m.take(); c != nil {
			must(m.pool.Put(c))
		}
	case n < 72:
		if c := m.take(); c != nil {
			must(m.pool.Discard(c))
		}
	case n < 76:
		if c := m.take(); c != nil { // dies in use
			fakeOf(c).dead.Store(true)
			must(m.pool.Put(c))
		}
	case n < 80: // dies while idle, unreported
		m.killIdle(func(c *pooledConn) { fakeOf(c.current()).dead.Store(true) })
	case n < 84: // dies while idle, and is reported
		m.killIdle(func(c *pooledConn) { fakeOf(c.current()).dead.Store(true); c.peer.onDisconnect(c) })
	case n < 88 && len(m.former) > 0: // ended a second time
		must(m.pool.Put(m.former[m.rnd.IntN(len(m.former))]))
		must(m.pool.Discard(m.former[m.rnd.IntN(len(m.former))]))
	case n < 92 && len(m.cancels) > 0:
		i := m.rnd.IntN(len(m.cancels))
		m.cancels[i]()
		m.cancels = slices.Delete(m.cancels, i, i+1)
	case n < 94:
		m.pool.Clean("tcp", m.address())
	default:
		time.Sleep(time.Duration(m.rnd.IntN(3000)) * time.Millisecond)
	}
}

func (m *poolModel) killIdle(kill func(c *pooledConn)) {
	m.pool.mu.RLock()
	pr := m.pool.peers[netAddr{"tcp", m.address()}]
	m.pool.mu.RUnlock()
	if pr == nil {
		return
	}
	pr.mu.Lock()
	var c *pooledConn
	if len(pr.idle) > 0 {
		c = pr.idle[m.rnd.IntN(len(pr.idle))]
	}
	pr.mu.Unlock()
	if c != nil {
		kill(c)
	}
}

// check compares the pool with the model while nothing runs.
func (m *poolModel) check() {
	s := checkCounts(m.t, m.pool)
	m.mu.Lock()
	defer m.mu.Unlock()
	sockets := 0
	for _, address := range modelAddresses {
		sockets += m.d.opened(address)
	}
	switch cfg := m.pool.config; {
	case s.InUse != len(m.held):
		m.t.Fatalf("%d in use, want %d", s.InUse, len(m.held))
	case s.Idle+s.InUse != sockets:
		m.t.Fatalf("%d sockets: %+v", sockets, s.Counts)
	case s.Dialing+s.Waiting != m.calls:
		m.t.Fatalf("%d calls under way: %+v", m.calls, s.Counts)
	case int64(s.Idle) != m.pool.idle.Load() || s.Idle > cfg.MaxIdleGlobal:
		m.t.Fatalf("global idle is %d: %+v", m.pool.idle.Load(), s.Counts)
	case m.d.most() > cfg.MaxConnsPerAddress:
		m.t.Fatalf("%d sockets of one address", m.d.most())
	}
}

func TestPoolModel(t *testing.T) {
	seeds, steps := 20, 2000
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(uint64(seed), 7))
			m := &poolModel{t: t, rnd: rnd}
			dice := rand.New(rand.NewPCG(uint64(seed), 8))
			var diceMu sync.Mutex
			roll := func(n int) int { diceMu.Lock(); defer diceMu.Unlock(); return dice.IntN(n) }
			m.d = &fakePoolDialer{
				delay: func() time.Duration { return time.Duration(roll(200)) * time.Millisecond },
				fail: func() error {
					if roll(5) == 0 {
						return errFakeDial
					}
					return nil
				},
			}
			m.pool = New("test", Config{
				MinIdlePerAddress: roll(3), MaxIdlePerAddress: 1 + roll(5), MaxIdleGlobal: 3 + roll(8),
				MaxConnsPerAddress: 1 + roll(8), MaxIdleTimeout: 5 * time.Second, MaxAge: 20 * time.Second,
			})
			for range steps {
				m.step()
				synctest.Wait()
				m.check()
			}
			for m.calls > 0 || len(m.held) > 0 {
				for c := m.take(); c != nil; c = m.take() {
					must(m.pool.Put(c))
				}
				time.Sleep(time.Second)
				synctest.Wait()
				m.check()
			}
			for _, cancel := range m.cancels {
				cancel()
			}
			m.pool.Close()
			s := checkCounts(t, m.pool)
			for _, address := range modelAddresses {
				if n := m.d.opened(address); n != 0 || s.Open != 0 {
					t.Fatalf("%d sockets of %s left: %+v", n, address, s.Counts)
				}
			}
		})
	}
}

func TestPoolHammer(t *testing.T) {
	d := &fakePoolDialer{}
	p := New("test", Config{
		MaxConnsPerAddress: 4, MaxIdlePerAddress: 3, MaxIdleGlobal: 5,
		MaxIdleTimeout: 2 * time.Millisecond, MaxAge: 20 * time.Millisecond,
	})
	var all sync.WaitGroup
	done := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for {
			select {
			case <-done:
				return
			default:
			}
			for _, a := range p.Stats().Addresses {
				if err := countsError(a.Counts); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for i := range 16 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 9))
			for range 5000 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(1000))*time.Microsecond)
				c, err := p.Get(ctx, "tcp", modelAddresses[rnd.IntN(3)], d.option())
				cancel()
				if err != nil {
					continue
				}
				if fake := fakeOf(c); fake.users.Add(1) != 1 {
					t.Error("connection is used twice")
				}
				fakeOf(c).users.Add(-1)
				switch rnd.IntN(20) {
				case 0:
					must(p.Discard(c))
				case 1:
					fakeOf(c).dead.Store(true)
					must(p.Put(c))
				case 2:
					checkoutOf(c).of.peer.onDisconnect(checkoutOf(c).of)
					must(p.Put(c))
				case 3:
					must(p.Put(c))
					checkoutOf(c).of.peer.onDisconnect(checkoutOf(c).of)
				case 4:
					p.Clean("tcp", modelAddresses[rnd.IntN(3)])
					must(p.Put(c))
				default:
					must(p.Put(c))
				}
			}
		})
	}
	all.Wait()
	close(done)
	<-watching
	before := p.idle.Load() // from here on they only become fewer, by age
	s := checkCounts(t, p)
	if after := p.idle.Load(); int64(s.Idle) > before || int64(s.Idle) < after || s.InUse != 0 {
		t.Fatalf("global idle was %d, then %d: %+v", before, after, s.Counts)
	}
	p.Close()
	if s := checkCounts(t, p); s.Open != 0 || p.idle.Load() != 0 {
		t.Fatalf("got %+v", s.Counts)
	}
	if d.most() > 4 {
		t.Fatalf("%d sockets of one address", d.most())
	}
}
