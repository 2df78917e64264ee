package muxserver

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestHandlerFailures: a handler that panics or ends its goroutine fails only its own call, at
// once, whichever goroutine it runs on, and however many calls came together. Its place is free
// again, the connection goes on, and the server ends without waiting.
func TestHandlerFailures(t *testing.T) {
	const calls, rounds = 7, 3
	for ending, failure := range testpeer.Failures() {
		for name, credit := range handlings {
			t.Run(ending+"/"+name, func(t *testing.T) {
				var wrong atomic.Pointer[string]
				s := startMuxServer(t, "tcp", Config{
					credit: credit, MaxHandlersPerConn: 3, MaxHandlers: 2,
					Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
						if call.SeqID()%2 == 0 {
							_, _ = call.Reply().WriteString("dropped")
							failure.Fail()
						}
						return echoHandler(ctx, call)
					}),
					OnPanic: func(call *Call, value any, stack []byte) bool {
						if value != failure.Value || len(stack) == 0 {
							wrong.Store(new(fmt.Sprintf("%v with %d bytes of stack", value, len(stack))))
						}
						return testpeer.Answer(call, []byte("failed"))
					},
				})
				p := s.Dial(t)
				for range rounds {
					sendBatch(t, p, calls)
					answered := map[uint32]bool{}
					for range calls {
						r := p.MustReceive(t)
						if failed := string(r.Payload) == "failed"; answered[r.SeqID] || failed != (r.SeqID%2 == 0) {
							t.Errorf("call %d: got %q", r.SeqID, r.Payload)
						}
						answered[r.SeqID] = true
					}
				}
				if w := wrong.Load(); w != nil {
					t.Errorf("OnPanic got %s, want %v", *w, failure.Value)
				}
				testpeer.WaitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 })
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

// TestHookFailures: OnPanic, OnBadReply, OnError and OnGone's function may fail themselves. At most
// that costs a caller its reply.
func TestHookFailures(t *testing.T) {
	for ending, failure := range testpeer.Failures() {
		t.Run(ending, func(t *testing.T) {
			var reported atomic.Int32
			s := startMuxServer(t, "tcp", Config{
				Handler:    handlerFunc(scripted),
				OnPanic:    func(*Call, any, []byte) bool { failure.Fail(); return true },
				OnBadReply: func(*Call, error) bool { failure.Fail(); return true },
				OnError:    func(*conn.Conn, error) { reported.Add(1); failure.Fail() },
			})
			attach := func(sc *Conn) { sc.OnGone(failure.Fail) }
			s.attach.Store(&attach)
			p := s.Dial(t)
			p.Send(t,
				testpeer.Frame(1, frame.SignalHello, script(askPanic, 0, nil)),
				testpeer.Frame(2, frame.SignalNone, script(askNoFrame, 0, nil)),
				testpeer.Frame(3, frame.SignalNone, script(askEcho, 0, nil)))
			answered := map[uint32]bool{}
			for len(answered) < 3 {
				r := p.MustReceive(t)
				for _, id := range answeredBy(r) {
					if answered[id] = true; r.IsControl() == (id == 3) {
						t.Errorf("got %v for %d", r.Signal, id)
					}
				}
			}
			testpeer.WaitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 })
			p.Close()
			testpeer.WaitFor(t, "the connection to end", func() bool { return s.Stats().Conns == 0 })
			// OnPanic's failure, the bad reply, OnBadReply's failure, OnGone's function's failure.
			testpeer.WaitFor(t, "reports", func() bool { return reported.Load() == 4 })
		})
	}
}
