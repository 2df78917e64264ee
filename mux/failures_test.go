package mux

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// failures are the ways in which a callback can end without returning, and what is told of each.
var failures = map[string]struct {
	fail  func()
	value any
}{
	"panic":  {func() { panic("of a test") }, "of a test"},
	"Goexit": {runtime.Goexit, conn.ErrGoexit},
}

// TestHandlerFailures: whichever goroutine a handler runs on, and however many came together, one that
// panics or ends the goroutine fails its own call at once, and nobody else's; its place is free
// again, the connection goes on, and the server ends without waiting.
func TestHandlerFailures(t *testing.T) {
	const calls, rounds = 7, 3
	for ending, failure := range failures {
		for name, rule := range inlineRules {
			t.Run(ending+"/"+name, func(t *testing.T) {
				var wrong atomic.Pointer[string]
				s := startMuxServer(t, "tcp", ServerConfig{
					rule: rule, MaxHandlersPerConn: 3, MaxHandlers: 2,
					Handler: handlerFunc(func(ctx context.Context, call *ServerCall) bool {
						takeForQuick(call.conn)
						if call.SeqID()%2 == 0 {
							_, _ = call.Reply().WriteString("dropped")
							failure.fail()
						}
						return echoHandler(ctx, call)
					}),
					OnPanic: func(call *ServerCall, value any, stack []byte) bool {
						if value != failure.value || len(stack) == 0 {
							wrong.Store(new(fmt.Sprintf("%v with %d bytes of stack", value, len(stack))))
						}
						return answer(call, []byte("failed"))
					},
				})
				p := s.dial(t)
				for range rounds {
					sendBatch(t, p, calls)
					answered := map[uint32]bool{}
					for range calls {
						r := p.mustReceive(t)
						if failed := string(r.payload) == "failed"; answered[r.SeqID] || failed != (r.SeqID%2 == 0) {
							t.Errorf("call %d: got %q", r.SeqID, r.payload)
						}
						answered[r.SeqID] = true
					}
				}
				if w := wrong.Load(); w != nil {
					t.Errorf("OnPanic got %s, want %v", *w, failure.value)
				}
				waitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 })
				if st := s.Stats(); st.Panics != rounds*(calls/2) || st.Conns != 1 {
					t.Errorf("got %v, want %d panics and 1 connection", st, rounds*(calls/2))
				}
				p.Close()
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestHookFailures: OnPanic, OnBadReply, OnError and OnGone's function may fail themselves. It costs
// a caller its reply at most.
func TestHookFailures(t *testing.T) {
	for ending, failure := range failures {
		t.Run(ending, func(t *testing.T) {
			var reported atomic.Int32
			s := startMuxServer(t, "tcp", ServerConfig{
				Handler:    handlerFunc(scripted),
				OnPanic:    func(*ServerCall, any, []byte) bool { failure.fail(); return true },
				OnBadReply: func(*ServerCall, error) bool { failure.fail(); return true },
				OnError:    func(*conn.Conn, error) { reported.Add(1); failure.fail() },
			})
			attach := func(sc *ServerConn) { sc.OnGone(failure.fail) }
			s.attach.Store(&attach)
			p := s.dial(t)
			p.send(t,
				testpeer.Frame(1, frame.SignalHello, script(askPanic, 0, nil)),
				testpeer.Frame(2, frame.SignalNone, script(askNoFrame, 0, nil)),
				testpeer.Frame(3, frame.SignalNone, script(askEcho, 0, nil)))
			if r := p.mustReceive(t); r.SeqID != 3 {
				t.Errorf("got a reply to %d, want 3", r.SeqID)
			}
			waitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 })
			p.Close()
			waitFor(t, "the connection to end", func() bool { return s.Stats().Conns == 0 })
			// OnPanic's, the bad reply, OnBadReply's, OnGone's function's.
			waitFor(t, "reports", func() bool { return reported.Load() == 4 })
		})
	}
}

// TestDialFailures: a dial that panics or ends its goroutine has failed: its calls hear of it, the
// next one dials again, and Close has nothing to wait for.
func TestDialFailures(t *testing.T) {
	for ending, failure := range failures {
		t.Run(ending, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				echo := newEchoDialer(true)
				var fails atomic.Bool
				fails.Store(true)
				s := newTestSet(t, Config{Dial: func(ctx context.Context) (*conn.Conn, error) {
					if fails.Load() {
						failure.fail()
					}
					return echo.dial(ctx)
				}})
				began := time.Now()
				_, err := roundTrip(t.Context(), s, nil, time.Minute)
				var failed *conn.PanicError
				if !errors.As(err, &failed) || failed.Value != failure.value {
					t.Errorf("got %v, want a *conn.PanicError with %v", err, failure.value)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("the call failed after %v, want at once", took)
				}
				if err := s.WarmUp(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "callback") {
					t.Errorf("WarmUp: got %v, want the dial's failure", err)
				}
				if st := s.Stats(); st.Dialling != 0 || st.Connections != 0 {
					t.Errorf("got %v, want nothing left", st)
				}
				fails.Store(false)
				time.Sleep(time.Second)
				if _, err := roundTrip(t.Context(), s, nil, time.Minute); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
