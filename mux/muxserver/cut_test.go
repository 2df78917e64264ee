package muxserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestRequestsCutAnywhere: a client stops after any number of bytes of its requests, in any way.
// The handler gets each whole request once, and nothing else. A client that still reads gets their
// replies. Nothing is left of the connection. A client that no longer reads resets the connection
// when the hello or the first reply comes: the server skips what it has not begun to handle by
// then.
func TestRequestsCutAnywhere(t *testing.T) {
	for _, sig := range []frame.Signal{frame.SignalHello, frame.SignalNone} {
		for _, end := range testpeer.Endings() {
			t.Run(fmt.Sprintf("%v/%s", sig, end.Name), func(t *testing.T) {
				var handled sync.Map // sequence ID to *atomic.Int32
				s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
					n, _ := handled.LoadOrStore(call.SeqID(), new(atomic.Int32))
					n.(*atomic.Int32).Add(1)
					return echoHandler(ctx, call)
				})})
				for sent, first := 0, uint32(1); ; sent, first = sent+1, first+3 {
					frames := [][]byte{testpeer.Frame(first, sig, []byte("first")), testpeer.Frame(first+1, frame.SignalNone, nil), testpeer.Frame(first+2, frame.SignalNone, []byte("the third"))}
					stream := bytes.Join(frames, nil)
					if sent > len(stream) {
						return
					}
					before := s.Stats()
					p := s.Dial(t)
					p.Send(t, stream[:sent])
					end.Do(p.Conn)
					whole := wholeFrames(frames, sent)
					if end.Reads {
						wantReplies(t, p, first, whole)
						p.Close()
					}
					testpeer.WaitFor(t, "the connection to end", func() bool {
						st := s.Stats()
						return s.Plain.ConnCount() == 0 && st.Conns == 0 && st.InFlight == 0 && st.PendingBytes == 0 &&
							(end.Resets || st.Calls-before.Calls == uint64(whole))
					})
					total := 0
					for i := range uint32(3) {
						got := 0
						if n, ok := handled.Load(first + i); ok {
							got = int(n.(*atomic.Int32).Load())
						}
						if most := min(1, max(0, whole-int(i))); got > most {
							t.Errorf("after %d bytes: call %d was handled %d times, want at most %d", sent, i, got, most)
						}
						total += got
					}
					skipped := int(s.Stats().Skipped - before.Skipped)
					// Nothing comes back before the first reply.
					begins := whole > 0 && sig != frame.SignalHello && !end.Resets
					if !end.Resets && total+skipped != whole || end.Reads && skipped > 0 || begins && total == 0 {
						t.Errorf("after %d bytes: %d calls were handled and %d skipped, want %d", sent, total, skipped, whole)
					}
				}
			})
		}
	}
}

// wholeFrames returns how many of frames are in the first sent bytes.
func wholeFrames(frames [][]byte, sent int) (whole int) {
	for _, f := range frames {
		if sent -= len(f); sent < 0 {
			break
		}
		whole++
	}
	return whole
}

// wantReplies checks that want replies come, each to another call, and then the end.
func wantReplies(t *testing.T, p *testpeer.Client, first uint32, want int) {
	t.Helper()
	seen := map[uint32]bool{}
	for range want {
		r := p.MustReceive(t)
		if r.SeqID < first || r.SeqID >= first+uint32(want) || seen[r.SeqID] {
			t.Errorf("got a reply to %d", r.SeqID)
		}
		seen[r.SeqID] = true
	}
	if r, err := p.Receive(); err != io.EOF {
		t.Errorf("got %+v, %v, want the end after %d replies", r.Prefix, err, want)
	}
}
