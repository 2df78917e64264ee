package muxserver

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestQueuedCallsOfDeadConnections: a call that waits for a goroutine while its connection dies is
// no longer handled. A call that is being handled goes on.
func TestQueuedCallsOfDeadConnections(t *testing.T) {
	for _, network := range serverNetworks {
		t.Run(network, func(t *testing.T) {
			var handled atomic.Int64
			began, release := make(chan struct{}), make(chan struct{})
			s := startMuxServer(t, network, Config{Handler: handlerFunc(func(context.Context, *Call) bool {
				handled.Add(1)
				close(began)
				<-release
				return false
			})})
			p := s.Dial(t)
			p.Send(t, testpeer.Frame(1, frame.SignalNone, nil))
			<-began
			sc := s.snapshot()[0]
			_ = sc.conn.Close()
			sc.enter() // as admit does
			newCall(t.Context(), sc, incoming{Prefix: frame.Prefix{SeqID: 2}}, frame.Take()).handle(0, false)
			if got := handled.Load(); got != 1 {
				t.Errorf("got %d calls handled, want the one that had begun", got)
			}
			close(release)
			testpeer.WaitFor(t, "the connection to end", func() bool { return s.Stats().Conns == 0 && s.Stats().InFlight == 0 })
		})
	}
}

// TestOnPanicPanics: a panic of OnPanic costs the caller its reply, and other callers nothing.
func TestOnPanicPanics(t *testing.T) {
	for name, credit := range handlings {
		t.Run(name, func(t *testing.T) {
			s := startMuxServer(t, "tcp", Config{
				credit:  credit,
				Handler: handlerFunc(scripted),
				OnPanic: func(call *Call, _ any, _ []byte) bool {
					_, _ = call.Reply().WriteString("dropped")
					panic("once more")
				},
			})
			p := s.Dial(t)
			p.Send(t, testpeer.Frame(1, frame.SignalNone, script(askPanic, 0, nil)), testpeer.Frame(2, frame.SignalNone, script(askPanic, 0, nil)))
			p.Send(t, testpeer.Frame(3, frame.SignalNone, script(askEcho, 0, nil)))
			if r := p.MustReceive(t); r.SeqID != 3 {
				t.Errorf("got a reply to %d, want 3", r.SeqID)
			}
			testpeer.WaitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 })
			if st := s.Stats(); st.Panics != 4 || st.Conns != 1 {
				t.Errorf("got %+v, want 4 panics", st)
			}
		})
	}
}

// TestBadReplies: a bad reply costs only its call, whose caller is told.
func TestBadReplies(t *testing.T) {
	const most = 4000
	bad := map[string]func(call *Call){
		"too long":        func(call *Call) { testpeer.Answer(call, make([]byte, most)) },
		"much too long":   func(call *Call) { testpeer.Answer(call, make([]byte, 1<<20)) },
		"no frame":        func(call *Call) { _, _ = call.Reply().WriteString("this is not a frame") },
		"nothing":         func(*Call) {},
		"somebody else's": func(call *Call) { testpeer.AnswerTo(call, 99, nil) },
		"longer than it says": func(call *Call) {
			testpeer.Answer(call, nil)
			_, _ = call.Reply().WriteString("x")
		},
	}
	names := slices.Sorted(maps.Keys(bad))
	instead := map[string]func(call *Call, err error) bool{
		"told":           func(call *Call, err error) bool { return testpeer.Answer(call, []byte(err.Error())) },
		"not told":       nil,
		"bad once more":  func(call *Call, _ error) bool { return testpeer.AnswerTo(call, 98, nil) },
		"still too long": func(call *Call, _ error) bool { return testpeer.Answer(call, make([]byte, most)) },
		"panics": func(call *Call, _ error) bool {
			testpeer.Answer(call, nil)
			panic("once more")
		},
		"thinks better of it": func(call *Call, _ error) bool { testpeer.Answer(call, nil); return false },
	}
	for outcome, onBadReply := range instead {
		t.Run(outcome, func(t *testing.T) {
			var reported atomic.Int64
			s := startMuxServer(t, "tcp", Config{
				MaxFrameBytes: most,
				OnBadReply:    onBadReply,
				OnError:       func(*conn.Conn, error) { reported.Add(1) },
				Handler: handlerFunc(func(_ context.Context, call *Call) bool {
					if payload := testpeer.RequestPayload(call); len(payload) > 0 {
						bad[string(payload)](call)
						return true
					}
					return testpeer.Answer(call, nil)
				}),
			})
			p := s.Dial(t)
			for i, name := range names {
				p.Send(t, testpeer.Frame(uint32(i)+1, frame.SignalHello, []byte(name)))
				if outcome != "told" {
					expectRefused(t, p, frame.ReasonCancelled, uint32(i)+1)
					continue
				}
				if r := p.MustReceive(t); r.SeqID != uint32(i)+1 || !strings.Contains(string(r.Payload), "bad frame") {
					t.Errorf("%s: got a reply to %d, %q", name, r.SeqID, r.Payload)
				}
			}
			p.Send(t, testpeer.Frame(1000, frame.SignalNone, nil))
			if r := p.MustReceive(t); r.SeqID != 1000 {
				t.Errorf("got a reply to %d, want one to 1000", r.SeqID)
			}
			testpeer.WaitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 })
			if st := s.Stats(); st.BadReplies != uint64(len(bad)) || st.Conns != 1 || st.Replies > uint64(len(bad))+1 {
				t.Errorf("got %+v", st)
			}
			if got := reported.Load(); got < int64(len(bad)) {
				t.Errorf("%d errors reported, want %d at least", got, len(bad))
			}
		})
	}
}

// TestLongestReply: a reply of exactly the limit is sent, and a longer one is not.
func TestLongestReply(t *testing.T) {
	const most = 4000
	s := startMuxServer(t, "tcp", Config{
		MaxFrameBytes: most,
		OnBadReply:    func(call *Call, _ error) bool { return testpeer.Answer(call, []byte("bad")) },
		Handler: handlerFunc(func(_ context.Context, call *Call) bool {
			return testpeer.Answer(call, make([]byte, int(call.SeqID())-len(testpeer.Frame(0, frame.SignalNone, nil))))
		}),
	})
	for _, sig := range []frame.Signal{frame.SignalNone, frame.SignalHello} {
		for length, fits := range map[int]bool{most: true, most + 1: false} {
			p := s.Dial(t)
			p.Send(t, testpeer.Frame(uint32(length), sig, nil))
			if r := p.MustReceive(t); r.Bytes > most || r.Bytes == most != fits || p.Hello.Signal != sig {
				t.Errorf("%d bytes: got %d and %v", length, r.Bytes, p.Hello.Signal)
			}
		}
	}
}
