package listeners

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	"github.com/kiteline/kiteline/transport/conn"
)

// way is a kind of server and a way to stop it.
type way struct {
	name  string
	start func(t testing.TB, s setup) subject

	kitex   bool
	drops   bool          // it waits for no call
	without time.Duration // time of a stop that is given none; zero if it gets some
}

// closePatience is how long a conn.Server's Close waits for listeners.
const closePatience = time.Second

// shared is what a Kitex client's calls may do with a connection.
const shared = "shared"

var ways = []way{
	kitexWay("pooled", harness.Kiteline),
	kitexWay(shared, harness.KitelineMux),
	plainWay("Shutdown", (*conn.Server).Shutdown),
	plainWay("StopAccepting and Shutdown", func(s *conn.Server, ctx context.Context) error {
		s.StopAccepting()
		return s.Shutdown(ctx)
	}),
	closeWay(),
}

func kitexWay(name string, tr harness.Transport) way {
	return way{name: "Stop of Kitex, " + name, kitex: true, start: func(t testing.TB, s setup) subject { return newKitex(t, tr, s) }}
}

func plainWay(name string, stop func(*conn.Server, context.Context) error) way {
	return way{name: name, start: func(t testing.TB, s setup) subject { return newPlain(t, stop, s) }}
}

func closeWay() way {
	w := plainWay("Close", func(s *conn.Server, _ context.Context) error { return s.Close() })
	w.drops, w.without = true, closePatience
	return w
}

// bound returns how long a stop may take according to the promise.
func (w way) bound(exit time.Duration) time.Duration {
	const more = 100 * time.Millisecond
	switch {
	case w.without > 0:
		return w.without + more
	case w.kitex:
		return exit + exit/10 + more
	}
	return exit + more
}

// state is what the connections do when the server is stopped.
type state string

const (
	none   state = "none"   // there are none
	idle   state = "idle"   // each has had a call
	busy   state = "busy"   // a handler runs on each, which returns when the stop has begun
	held   state = "held"   // a handler runs on each, which outlasts the stop
	silent state = "silent" // the clients have sent nothing, neither a header nor a handshake
)

var states = []state{none, idle, busy, held, silent}

// stopCase is one cell of the matrix.
type stopCase struct {
	kind  kind
	state state
	way   way
}

func (c stopCase) String() string { return c.way.name + "/" + c.kind.name + "/" + string(c.state) }

// makesSense reports whether the case exists.
func (c stopCase) makesSense() bool {
	if c.way.kitex && c.kind.name == "two listeners" {
		return false
	}
	return !c.kind.crowded || c.state != none
}

// isCutOff reports whether the stop waits for something that does not end, until its time is over.
func (c stopCase) isCutOff() bool {
	return !c.way.drops && (c.kind.name == "Accept goes on" || c.state == held || c.state == silent && c.kind.waitsForHello)
}

// exit returns how long the stop may take: an hour if it should end by itself, so that the time
// does not end it.
func (c stopCase) exit() time.Duration {
	switch {
	case testkit.Long:
		return time.Second
	case !c.isCutOff():
		return time.Hour
	case c.state == busy:
		return 2 * time.Second // enough to answer on a busy machine
	}
	return 300 * time.Millisecond
}

// TestStop: whatever a listener does and whatever state its connections are in, every stop ends, by
// itself unless something holds it up. Calls that end in time are answered, and nothing is left. An
// Accept that does not end is reported once. The time of stops counts only in the long run.
func TestStop(t *testing.T) {
	var mu sync.Mutex
	worst := make(map[string]time.Duration)
	if testkit.Long {
		promise.Alone(t)
	} else {
		t.Parallel()
	}
	for _, w := range ways {
		for _, k := range kinds {
			for _, s := range states {
				c := stopCase{k, s, w}
				if !c.makesSense() {
					continue
				}
				t.Run(c.String(), func(t *testing.T) {
					if !testkit.Long {
						t.Parallel()
					}
					over := c.run(t) - w.bound(c.exit())
					mu.Lock()
					defer mu.Unlock()
					if before, seen := worst[w.name]; !seen || over > before {
						worst[w.name] = over
					}
				})
			}
		}
	}
	if !testkit.Long {
		return
	}
	for _, w := range ways {
		most := w.bound(time.Second)
		took := worst[w.name] + most
		promise.Check(t, fmt.Sprintf("%s, %d kinds of listeners", w.name, len(kinds)), fmt.Sprintf("<= %v", most),
			took.Round(time.Millisecond).String(), took <= most)
	}
}

// run stops a server and returns how long the stop took.
func (c stopCase) run(t *testing.T) time.Duration {
	g := newGate(t)
	at := c.kind.open(t)
	s := c.way.start(t, setup{places: at, gate: g, exit: c.exit()})
	results := c.connect(t, s, at, g)

	stopped := make(chan error, 1)
	began := time.Now()
	var took time.Duration
	go func() {
		err := s.stop()
		took = time.Since(began)
		stopped <- err
	}()
	if c.state == busy && !c.way.drops {
		for _, p := range at {
			awaitClosed(t, p)
		}
		g.open()
		for range cap(results) {
			if err := testkit.Receive(t, "the result of a call in flight", results); err != nil {
				t.Errorf("a call in flight: %v", err)
			}
		}
	}
	err := testkit.Receive(t, "the stop", stopped)
	if want := c.isCutOff(); errors.Is(err, context.DeadlineExceeded) != want || err != nil && !want {
		t.Errorf("the stop after %v: got %v, want it cut off: %v", took, err, want)
	}
	c.checkEnd(t, s, at, g)
	return took
}

// connect makes the case's connections, and returns the results of the calls in flight.
func (c stopCase) connect(t *testing.T, s subject, at []place, g *gate) (results chan error) {
	callers := 2
	if c.kind.crowded {
		callers = 1
	}
	if c.state == busy || c.state == held {
		results = make(chan error, callers*len(at))
	}
	for i, p := range at {
		for range callers {
			switch c.state {
			case idle:
				if err := s.call(i, false); err != nil {
					t.Fatal(err)
				}
			case busy, held:
				go func() { results <- s.call(i, true) }()
				testkit.Receive(t, "a call", g.entered)
			case silent:
				seen := s.connections
				if p.accepted != nil {
					seen = func() int { return int(p.accepted.Load()) }
				}
				before := seen()
				harness.Dial(t, p.addr)
				testkit.Settles(t, "connections", seen, before+1)
			}
		}
		if p.waiting != nil { // the acceptor has come back for the next connection
			testkit.Settles(t, "goroutines in Accept", p.waiting.inside.Load, 1)
		}
		if c.kind.crowded {
			harness.FillBacklog(t, p.addr)
		}
	}
	return results
}

// checkEnd checks what is left of a stopped server, and lets go of it.
func (c stopCase) checkEnd(t *testing.T, s subject, at []place, g *gate) {
	for _, p := range at {
		var end dialEnd
		testkit.Eventually(t, "a dial after the stop ends in time", func() bool { end = tryDial(p.addr); return end != late })
		if end != refused {
			t.Errorf("a connection to %v after the stop was not refused", p.addr)
		}
		want := 0
		if p.waiting != nil {
			want = 1
			testkit.Settles(t, "goroutines in Accept", p.waiting.inside.Load, 1)
			testkit.Settles(t, "reports of Accept", func() int { return s.reports(p) }, want)
			p.waiting.letGo()
			testkit.Settles(t, "goroutines in Accept", p.waiting.inside.Load, 0)
		}
		if got := s.reports(p); got != want {
			t.Errorf("got %d reports of an Accept that does not return, want %d", got, want)
		}
	}
	g.open()
	testkit.Settles(t, "open connections", s.connections, 0)
}

// awaitClosed waits until the place's listener is closed.
func awaitClosed(t *testing.T, p place) {
	t.Helper()
	if p.waiting != nil { // a connection that is accepted at that moment would end Accept
		testkit.Receive(t, "Close of the listener", p.waiting.closed)
		return
	}
	testkit.Eventually(t, "new connections are refused", func() bool { return tryDial(p.addr) == refused })
}

// dialEnd is how a dial ends.
type dialEnd int

const (
	accepted dialEnd = iota // something listens
	refused                 // nothing listens
	late                    // the queue is full, or the machine is busy
)

func tryDial(addr net.Addr) dialEnd {
	nc, err := net.DialTimeout(addr.Network(), addr.String(), 100*time.Millisecond)
	if err == nil {
		nc.Close()
		return accepted
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return late
	}
	return refused
}
