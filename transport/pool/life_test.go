package pool

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
)

// leavingServer closes connections that are idle for its timeout. Everything to or from it takes
// delay.
type leavingServer struct {
	fakePoolDialer
	pool  *Pool
	delay time.Duration

	mu      sync.Mutex
	timeout time.Duration                // guarded by mu
	conns   map[*fakePoolConn]*leftAlone // guarded by mu
}

// leftAlone is the server's side of a connection.
type leftAlone struct {
	closed bool
	timer  *time.Timer
}

// call makes one call, and reports whether it got an answer.
func (s *leavingServer) call(t *testing.T) bool {
	c, err := s.pool.Get(t.Context(), "tcp", fakeAddress, remote.ConnOption{Dialer: s, ConnectTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(s.delay)
	if !s.serve(c) {
		must(s.pool.Discard(c))
		return false
	}
	time.Sleep(s.delay)
	must(s.pool.Put(c))
	return true
}

// serve handles a request on the server's side, unless that has closed.
func (s *leavingServer) serve(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	side := s.conns[fakeOf(c)]
	if side == nil {
		side = new(leftAlone)
		s.conns[fakeOf(c)] = side
		side.timer = time.AfterFunc(s.timeout, func() { s.close(c) })
	}
	side.timer.Reset(s.timeout)
	return !side.closed
}

// close closes a connection. The client sees that after the delay.
func (s *leavingServer) close(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	side := s.conns[fakeOf(c)]
	if side.closed {
		return
	}
	side.closed = true
	side.timer.Stop()
	time.AfterFunc(s.delay, func() {
		fakeOf(c).dead.Store(true)
		of := checkoutOf(c).of
		of.peer.onDisconnect(of)
	})
}

// restart closes all connections that are idle.
func (s *leavingServer) restart() {
	for _, pr := range s.pool.peers {
		pr.mu.Lock()
		for _, c := range pr.idle {
			go s.close(c.current())
		}
		pr.mu.Unlock()
	}
}

func (s *leavingServer) setTimeout(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeout = d
}

func newLeavingServer(t *testing.T, timeout, delay time.Duration, cfg Config) *leavingServer {
	s := &leavingServer{pool: New("test", cfg), delay: delay, timeout: timeout, conns: make(map[*fakePoolConn]*leftAlone)}
	t.Cleanup(func() {
		s.pool.Close()
		time.Sleep(2 * timeout) // until no timer is left
	})
	return s
}

// TestPoolLearnsIdleLife: calls at about the time when the server closes idle connections fail at
// most until the pool has learned that time, whatever it is, and again if it changes.
func TestPoolLearnsIdleLife(t *testing.T) {
	for _, timeout := range []time.Duration{100 * time.Millisecond, time.Second, 20 * time.Second, 10 * time.Minute} {
		for _, minIdle := range []int{0, 2} {
			synctest.Test(t, func(t *testing.T) {
				const learning, calls = 12, 1000
				delay := min(timeout/100, 50*time.Millisecond)
				s := newLeavingServer(t, timeout, delay, Config{MinIdlePerAddress: minIdle, MaxIdleTimeout: 24 * time.Hour})
				rnd := rand.New(rand.NewPCG(1, uint64(timeout)))
				for _, timeout := range []time.Duration{timeout, timeout / 4, timeout * 3} {
					s.setTimeout(timeout)
					for i := range calls {
						if !s.call(t) && i >= learning {
							t.Errorf("timeout %v: call %d failed", timeout, i)
						}
						time.Sleep(timeout - 4*delay + time.Duration(rnd.Int64N(int64(8*delay))) + time.Duration(rnd.IntN(2))*timeout/2)
					}
				}
				checkCounts(t, s.pool)
			})
		}
	}
}

// TestPoolNotMisledByRestarts: restarts of a server close connections of all ages. If two ages
// agree by chance, at most one call in twenty pays with a dial.
func TestPoolNotMisledByRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const restarts = 200
		s := newLeavingServer(t, time.Hour, time.Millisecond, Config{})
		rnd := rand.New(rand.NewPCG(2, 2))
		pause := func() { time.Sleep(time.Duration(rnd.Int64N(int64(2 * time.Second)))) }
		for range restarts {
			for range 10 {
				s.call(t)
				pause()
			}
			s.restart()
			pause()
		}
		if n := s.pool.Stats().ClosedExpired; n > 10*restarts/20 {
			t.Errorf("%d connections were given up in %d calls", n, 10*restarts)
		}
		before := s.pool.Stats()
		for range 1000 { // without restarts from here on
			s.call(t)
			pause()
		}
		after := s.pool.Stats()
		if n := after.Dials - before.Dials; n > 1000/20 {
			t.Errorf("%d dials for 1000 calls after the last restart", n)
		}
	})
}

// TestIdleLife lists ages at which a peer closes connections, and what an idleLife learns from
// them.
func TestIdleLife(t *testing.T) {
	const second = time.Second
	type end struct{ age, at time.Duration }
	for _, tc := range []struct {
		name string
		ends []end
		want time.Duration
	}{
		{"nothing", nil, 0},
		{"one", []end{{10 * second, 10 * second}}, 0},
		{"two", []end{{10 * second, 10 * second}, {10*second + 1, 20 * second}}, 10 * second},
		{"the second is shorter", []end{{10 * second, 10 * second}, {9700 * second / 1000, 20 * second}}, 9700 * second / 1000},
		{"two at the same moment", []end{{10 * second, 10 * second}, {10 * second, 10*second + 1}}, 0},
		{"two that differ", []end{{10 * second, 10 * second}, {5 * second, 20 * second}}, 0},
		{"two around another", []end{{10 * second, 10 * second}, {5 * second, 20 * second}, {10 * second, 40 * second}}, 0},
		{"shorter ones later", []end{{10 * second, 10 * second}, {10 * second, 20 * second}, {3 * second, 30 * second}, {3 * second, 40 * second}}, 3 * second},
		{"longer ones later", []end{{3 * second, 10 * second}, {3 * second, 20 * second}, {10 * second, 30 * second}, {10 * second, 40 * second}}, 10 * second},
		{"one that is shorter later", []end{{10 * second, 10 * second}, {10 * second, 20 * second}, {3 * second, 30 * second}}, 10 * second},
		{"at once", []end{{0, 10 * second}, {0, 20 * second}, {0, 30 * second}}, 0},
	} {
		var l idleLife
		last := instant(0)
		for _, e := range tc.ends {
			l.ended(e.age, e.at)
			last = e.at
		}
		if l.length != tc.want {
			t.Errorf("%s: learnt %v, want %v", tc.name, l.length, tc.want)
		}
		d := l.doubt(last + lifeKept - 1)
		if doubts := d != (doubt{}); doubts != (tc.want > 0) || doubts && (d.from >= tc.want || d.to <= tc.want) {
			t.Errorf("%s: got doubt %+v", tc.name, d)
		}
		if d := l.doubt(last + max(lifeKept, livesKept*tc.want)); d != (doubt{}) {
			t.Errorf("%s: still doubts much later: %+v", tc.name, d)
		}
		l.refute()
		if d := l.doubt(last); d != (doubt{}) {
			t.Errorf("%s: still doubts when refuted", tc.name)
		}
	}
}
