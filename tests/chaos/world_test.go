package chaos

import (
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

const (
	// patience is how long an operation may take if nothing cuts it short. A collector that runs
	// all the time, under the race detector, makes everything slow.
	patience = 20 * time.Second

	// idleTimeout is short enough to end connections that a worker keeps.
	idleTimeout = 200 * time.Millisecond
)

// registry has what is open now, for other workers to close.
type registry[C comparable] struct {
	mu  sync.Mutex
	all map[C]struct{} // guarded by mu
}

type conns struct{ registry[*conn.Conn] }

func (c *conns) remove(v *conn.Conn) { c.registry.remove(v) }

func (g *registry[C]) add(v C) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = make(map[C]struct{})
	}
	g.all[v] = struct{}{}
}

// remove reports whether v was there.
func (g *registry[C]) remove(v C) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.all[v]
	delete(g.all, v)
	return ok
}

// pick returns one of those that are open.
func (g *registry[C]) pick() (v C, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for v = range g.all {
		return v, true
	}
	return v, false
}

func (g *registry[C]) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.all)
}

// world is the servers and clients of one run.
type world struct {
	group      *conn.Group
	dialer     *conn.Dialer
	plain      []*plainServer
	rpc        []*rpcServer
	clients    conns // of the plain clients, those with a conn.Conn
	identities atomic.Uint64
	tally      tally
	beside     sync.WaitGroup // goroutines that callbacks have started

	made, collected atomic.Int64 // connections, and how many of them are no longer referred to
}

// watch counts c, and its end in memory: a timer that is still running would keep it.
func (w *world) watch(c *conn.Conn) {
	w.made.Add(1)
	runtime.AddCleanup(c, func(collected *atomic.Int64) { collected.Add(1) }, &w.collected)
}

func newWorld(t *testing.T, cfg conn.GroupConfig) *world {
	t.Helper()
	group, err := conn.NewGroup(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{group: group, dialer: &conn.Dialer{Group: group}}
	w.plain = []*plainServer{
		{w: w, network: "tcp"},
		{w: w, network: "unix", address: filepath.Join(t.TempDir(), "s")},
	}
	w.rpc = []*rpcServer{{w: w}, {w: w}}
	for _, s := range w.plain {
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range w.rpc {
		if err := s.start(); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// end stops everything and checks that the servers have seen every connection's end, once.
func (w *world) end(t *testing.T) {
	t.Helper()
	for _, s := range w.rpc {
		if err := s.stop(); err != nil {
			t.Errorf("stopping a server: %v", err)
		}
		testkit.Settles(t, "connections of a Kitex server", s.open.len, 0)
		if got, want := s.inactive.Load(), s.active.Load(); got != want {
			w.tally.fault(misordered, "%d OnActive and %d OnInactive", want, got)
		}
	}
	for _, s := range w.plain {
		if err := s.stop(time.Second); err != nil {
			t.Errorf("stopping a server: %v", err)
		}
		testkit.Settles(t, "connections of a server", s.open.len, 0)
		if got, want := s.closed.Load(), s.prepared.Load(); got != want {
			w.tally.fault(misordered, "%d OnPrepare and %d close callbacks", want, got)
		}
	}
	testkit.Settles(t, "connections of clients", w.clients.len, 0)
	w.beside.Wait()
	if err := w.group.Close(); err != nil {
		t.Errorf("closing the group: %v", err)
	}
}

// worker does one step after another, at random.
type worker struct {
	w      *world
	r      *rand.Rand
	kept   []*plainClient // idle, for later
	pooled *rpcClient
	muxed  *rpcClient
	seen   [64]*payloadSeen // answers that are checked again much later
	doing  atomic.Pointer[string]
	since  atomic.Int64 // when the step began, in nanoseconds
}
