package mux

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/mux/muxserver"
)

// heldCalls is a server's handler that holds the calls which ask for it.
type heldCalls struct {
	release chan struct{}
	inside  atomic.Int32
}

func newHeldCalls() *heldCalls { return &heldCalls{release: make(chan struct{})} }

// HandleCall implements muxserver.Handler.
func (h *heldCalls) HandleCall(_ context.Context, call *muxserver.Call) bool {
	payload := testpeer.RequestPayload(call)
	if bytes.Equal(payload, []byte("held")) {
		h.inside.Add(1)
		<-h.release
		h.inside.Add(-1)
	}
	if bytes.Equal(payload, []byte("oneway")) {
		return false
	}
	return testpeer.Answer(call, payload)
}

// newPeers is a set, the server that is its peer at the moment, and what may be done to either.
type newPeers struct {
	set     *Set
	held    *heldCalls
	current atomic.Pointer[bothServer]
}

func (p *newPeers) start(t testing.TB) *bothServer {
	t.Helper()
	srv := startServer(t, muxserver.Config{Handler: p.held})
	p.current.Store(srv)
	return srv
}

// TestQuickBesideSlow makes slow calls the first ones on new connections, in each way in which a
// set comes to have only new connections: quick calls are answered while the slow ones are in their
// handlers.
func TestQuickBesideSlow(t *testing.T) {
	const slow, quick = 2, 50
	for name, tc := range map[string]struct {
		cfg  Config
		turn func(t *testing.T, p *newPeers) // makes the set's connections new
	}{
		"just connected": {turn: func(*testing.T, *newPeers) {}},
		"after a drain": {turn: func(t *testing.T, p *newPeers) {
			connect(t, p.set)
			p.set.Drain()
		}},
		"after a restart": {turn: func(t *testing.T, p *newPeers) {
			connect(t, p.set)
			old := p.current.Load()
			p.start(t)
			if err := old.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}},
		"after the server has died": {turn: func(t *testing.T, p *newPeers) {
			connect(t, p.set)
			p.current.Load().kill()
			testpeer.WaitFor(t, "the connection to end", func() bool { return p.set.Stats().Connections == 0 })
		}},
		"after MaxAge": {cfg: Config{MaxAge: 20 * time.Millisecond}, turn: func(t *testing.T, p *newPeers) {
			connect(t, p.set)
			testpeer.WaitFor(t, "a connection to be replaced", func() bool { return p.set.Stats().Aged > 0 })
		}},
		"after an idle close": {cfg: Config{IdleTimeout: 20 * time.Millisecond}, turn: func(t *testing.T, p *newPeers) {
			connect(t, p.set)
			testpeer.WaitFor(t, "the connection to be closed", func() bool { return p.set.Stats().Connections == 0 })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &newPeers{held: newHeldCalls()}
			p.start(t)
			tc.cfg.Dial = dialTo(t, func() string { return p.current.Load().Addr.String() })
			p.set = newTestSet(t, tc.cfg)
			tc.turn(t, p)
			var slowOnes, quickOnes callers
			slowOnes.call(p.set, slow, []byte("held"))
			testpeer.WaitFor(t, "slow calls to be handled", func() bool { return p.held.inside.Load() == slow })
			quickOnes.call(p.set, quick, []byte("quick"))
			quickOnes.Wait() // while the slow ones are in their handlers
			close(p.held.release)
			slowOnes.Wait()
			if n := slowOnes.failed.Load() + quickOnes.failed.Load(); n > 0 {
				t.Errorf("%d calls failed", n)
			}
		})
	}
}

// TestTooLongFirst has the first requests of a client be longer than its server's limit: other
// calls that begin at the same time get their replies.
func TestTooLongFirst(t *testing.T) {
	srv := startServer(t, muxserver.Config{Handler: answering(echoing), MaxFrameBytes: 64 << 10})
	for range 3 {
		s := newTestSet(t, Config{MaxConns: 2, Dial: dialTo(t, srv.Addr.String)})
		var large [2]*Call
		for i := range large {
			var err error
			if large[i], err = s.Begin(t.Context(), time.Time{}); err != nil {
				t.Fatal(err)
			}
			fill(large[i], make([]byte, 1<<20))
		}
		var making callers
		making.call(s, 20, []byte("x"))
		for _, c := range large {
			var tooLong *FrameError
			err := c.Send()
			if err == nil {
				_, err = c.Receive()
			}
			if !errors.As(err, &tooLong) {
				t.Errorf("got %v, want a *FrameError", err)
			}
			c.End()
		}
		making.Wait()
		if n := making.failed.Load(); n > 0 {
			t.Errorf("%d other calls failed, %+v", n, s.Stats())
		}
	}
}

// TestColdStartDials has many calls begin at a server that is not known: all of them are handled
// concurrently, on the connections that a set wants and a few more, since a busy machine is late
// with its hellos.
func TestColdStartDials(t *testing.T) {
	const most = defaultMaxConns + 8
	t.Run("calls", func(t *testing.T) {
		const calls = 500
		p := &newPeers{held: newHeldCalls()}
		p.set = newTestSet(t, Config{Dial: dialTo(t, p.start(t).Addr.String)})
		var making callers
		making.call(p.set, calls, []byte("held"))
		testpeer.WaitFor(t, "all calls to be handled", func() bool { return p.held.inside.Load() == calls })
		close(p.held.release)
		making.Wait()
		if st := p.set.Stats(); st.Dials > most || making.failed.Load() > 0 {
			t.Errorf("%d calls failed, %+v", making.failed.Load(), st)
		}
	})
	t.Run("oneways", func(t *testing.T) {
		const senders, each = 300, 10
		p := &newPeers{held: newHeldCalls()}
		srv := p.start(t)
		p.set = newTestSet(t, Config{Dial: dialTo(t, srv.Addr.String)})
		var sending callers
		for range senders {
			sending.Go(func() {
				for range each {
					sendOneway(t, p.set)
				}
			})
		}
		sending.Wait()
		testpeer.WaitFor(t, "all calls to be handled", func() bool { return srv.Stats().Calls == senders*each })
		if st := p.set.Stats(); st.Dials > most {
			t.Errorf("got %+v", st)
		}
		// Connections for which no call was left are surplus, and go with the next look.
		testpeer.WaitFor(t, "no more connections than a set wants", func() bool {
			st := p.set.Stats()
			return st.Connections-st.Draining <= defaultMaxConns && st.Probing < defaultMaxConns
		})
	})
}
