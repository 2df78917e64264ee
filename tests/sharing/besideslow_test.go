package sharing

import (
	"context"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// beginning is a way in which a client comes to have no connection that it knows, although it has
// made calls.
type beginning struct {
	name  string
	cfg   pool.MuxConfig
	begin func(t *testing.T, s *world)
}

// world is a client of one server.
type world struct {
	server *harness.Server
	gate   *gate
	client *caller
}

// restart replaces the first server with another.
func (w *world) restart(t *testing.T) {
	t.Helper()
	w.server.MustStop()
	w.server = startAt(t, w.gate, w.server.Addr)
}

const (
	shortAge  = 50 * time.Millisecond
	shortIdle = 100 * time.Millisecond
)

func beginnings() []beginning {
	used := func(t *testing.T, w *world) {
		t.Helper()
		if err := w.client.call(); err != nil {
			t.Fatal(err)
		}
	}
	return []beginning{
		{"just connected", pool.MuxConfig{}, func(*testing.T, *world) {}},
		{"after a drain", pool.MuxConfig{}, func(t *testing.T, w *world) {
			used(t, w)
			w.client.pool.Clean(w.client.addr.Network(), w.client.addr.String())
		}},
		{"after MaxAge", pool.MuxConfig{MaxAge: shortAge}, func(t *testing.T, w *world) {
			used(t, w)
			if _, ok := w.client.pool.(*pool.Mux); ok { // a plain pool has no such thing
				testkit.Eventually(t, "a connection is replaced", func() bool { return w.client.stats(t).Aged > 0 })
			}
		}},
		{"after an idle close", pool.MuxConfig{IdleTimeout: shortIdle}, func(t *testing.T, w *world) {
			used(t, w)
			testkit.Settles(t, "connections", w.server.Connections.Open, 0)
		}},
		{"after a restart", pool.MuxConfig{}, func(t *testing.T, w *world) {
			used(t, w)
			w.restart(t)
		}},
	}
}

// Slow calls do not delay quick ones, however new their connections are.
func TestQuickBesideSlow(t *testing.T) {
	for _, b := range beginnings() {
		t.Run(b.name, func(t *testing.T) {
			beside(t)
			if testkit.Long {
				compare(t, "50 quick calls beside 2 slow ones, "+b.name, 99, bound{factor: 1, slack: 2 * time.Millisecond},
					func(k kind) []time.Duration { return besideSlow(t, b, k) })
				return
			}
			eachKind(t, func(t *testing.T, k kind) { besideSlow(t, b, k) })
		})
	}
}

// besideSlow returns how long quick calls take while slow ones are in their handlers.
func besideSlow(t *testing.T, b beginning, k kind) (took []time.Duration) {
	t.Helper()
	const slow, quick = 2, 50
	g := newGate()
	w := &world{server: startAt(t, g, nil), gate: g}
	w.client = newCaller(t, k, w.server.Addr, b.cfg)
	b.begin(t, w)
	before := w.server.Connections.Accepted()
	held := start(slow, func(int) error { return w.client.echo(context.Background(), "held", nil) })
	g.awaits(t, slow)
	took = timed(t, quick, testkit.Scale(1, samples/quick), w.client.call)
	// Connections reach their maximum age in a long run.
	if dials := w.server.Connections.Accepted() - before; k == shared && !testkit.Long && dials > mostDials {
		t.Errorf("got %d dials, want %d at most", dials, mostDials)
	}
	g.open()
	held.end(t, "slow calls")
	return took
}
