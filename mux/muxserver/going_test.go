package muxserver

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// goingServer is a server on its way to its end, with one connection on which call 2 runs, call 3
// and oneway 4 wait in the line, and half of request 5 has come.
type goingServer struct {
	*bubble
	client *bubbleClient
	rest   []byte // of request 5
	come   func() // the workers come to the line
	ended  chan error
}

func newGoingServer(ctx context.Context, t *testing.T) *goingServer {
	t.Helper()
	g := &goingServer{bubble: newBubble(t, Config{}), ended: make(chan error, 1)}
	g.client = g.dialMarked(t)
	g.client.send(t, testpeer.RequestFrame(2, nil))
	<-g.begun
	g.come = holdLine(g.snapshot()[0])
	whole := testpeer.RequestFrame(5, make([]byte, 1000))
	g.rest = whole[500:]
	g.client.send(t, testpeer.RequestFrame(3, nil), onewayFrame(4, nil), whole[:500])
	go func() { g.ended <- g.Shutdown(ctx) }()
	synctest.Wait()
	g.client.answered(t, 0, frame.SignalDrain)
	g.client.quiet(t)
	return g
}

// TestGoing: when the time of a shutdown is nearly over, requests that have not begun are refused,
// whether they wait or come later, and their clients are told before the connection ends. Running
// calls go on, and finished ones are answered; oneways are handled.
func TestGoing(t *testing.T) {
	const limit = 10 * time.Second
	for _, ends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			t.Cleanup(cancel)
			g := newGoingServer(ctx, t)
			p := g.client
			time.Sleep(limit - farewellTime - 1)
			p.quiet(t)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			p.refused(t, frame.ReasonGoing, 3)
			p.send(t, g.rest)
			p.refused(t, frame.ReasonGoing, 5)
			p.send(t, testpeer.RequestFrame(6, nil), testpeer.RequestFrame(7, nil), onewayFrame(8, nil))
			p.refused(t, frame.ReasonGoing, 6, 7)
			g.come()
			begun := []uint32{<-g.begun, <-g.begun}
			if slices.Sort(begun); !slices.Equal(begun, []uint32{4, 8}) {
				t.Errorf("%v have begun, want the oneways", begun)
			}
			p.quiet(t)
			if st := g.Stats(); st.TurnedAway != 4 || st.InFlight != 3 {
				t.Errorf("got %+v", st)
			}
			if !ends {
				for range 3 {
					g.release <- struct{}{}
				}
				synctest.Wait()
				p.answered(t, 2, frame.SignalNone)
				p.Close()
				if err := <-g.ended; err != nil {
					t.Error(err)
				}
				return
			}
			if err := <-g.ended; err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
			synctest.Wait()
			if _, open := <-p.got; open {
				t.Error("the connection is open after the end")
			}
		})
	}
}

// TestGoingLate: a call that joins the line after the calls in it were refused is refused in its
// turn.
func TestGoingLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		p := b.dialMarked(t)
		come := holdLine(b.snapshot()[0])
		p.send(t, testpeer.RequestFrame(2, nil), onewayFrame(3, nil))
		b.stages.going.Store(true)
		come()
		p.refused(t, frame.ReasonGoing, 2)
		if id := <-b.begun; id != 3 {
			t.Errorf("call %d has begun, want the oneway", id)
		}
	})
}

// TestGoingAtOnce: after a shutdown whose end comes unannounced, and after Close, no waiting call
// begins, except oneways.
func TestGoingAtOnce(t *testing.T) {
	for _, closes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			g := newGoingServer(ctx, t)
			if closes {
				_ = g.Close()
			} else {
				cancel()
			}
			synctest.Wait()
			g.come()
			if id := <-g.begun; id != 4 || len(g.begun) > 0 {
				t.Errorf("call %d has begun, and %d more, want the oneway alone", id, len(g.begun))
			}
			if st := g.Stats(); st.TurnedAway != 1 || st.InFlight != 2 {
				t.Errorf("got %+v", st)
			}
		})
	}
}
