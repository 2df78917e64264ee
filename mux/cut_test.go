package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// cutEnding is a way in which a peer stops in the middle of a stream.
type cutEnding struct {
	name   string
	do     func(nc net.Conn)
	resets bool // the other side may lose what it has not read
	reads  bool // the peer reads on
}

var cutEndings = []cutEnding{
	{"FIN", func(nc net.Conn) { nc.Close() }, false, false},
	{"half-close", func(nc net.Conn) { _ = nc.(*net.TCPConn).CloseWrite() }, false, true},
	{"RST", func(nc net.Conn) { _ = nc.(*net.TCPConn).SetLinger(0); nc.Close() }, true, false},
}

// isPeersEnd reports whether err says that the peer has ended the connection.
func isPeersEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || testsystem.IsReset(err)
}

// cutPeer answers the first call of each connection, takes as many more as it wants, and then
// sends only the first bytes of their replies before it stops.
type cutPeer struct {
	marked bool
	calls  int
	most   atomic.Int64 // bytes of the replies that are sent; negative: all, and it goes on
	end    cutEnding
}

func (p *cutPeer) serve(nc net.Conn) {
	defer nc.Close()
	peer := newFakePeer(nc, p.marked)
	if p.most.Load() < 0 {
		peer.echo()
		return
	}
	if f, err := peer.read(); err != nil || peer.reply(f.seqID, f.payload) != nil {
		return
	}
	var replies []byte
	for range p.calls {
		f, err := peer.read()
		if err != nil {
			return
		}
		replies = append(replies, testpeer.RequestFrame(f.seqID, f.payload)...)
	}
	if _, err := nc.Write(replies[:p.most.Load()]); err != nil {
		return
	}
	p.end.do(nc)
	_, _ = io.Copy(io.Discard, peer.in) // until the client has closed too
}

// TestRepliesCutAnywhere: a server stops after any number of bytes of the replies to calls in
// flight, in any way. Those calls have their replies that came whole, the others fail at
// once, typed and as sent, and the next call takes a new connection. The same for a peer that is
// used as a pool, where there is one call.
func TestRepliesCutAnywhere(t *testing.T) {
	for _, marked := range []bool{true, false} {
		calls, kind := 3, "shared"
		if !marked {
			calls, kind = 1, "pooled"
		}
		payload := []byte("what was asked for")
		length := len(testpeer.RequestFrame(1, payload))
		for _, end := range cutEndings {
			t.Run(kind+"/"+end.name, func(t *testing.T) {
				p := &cutPeer{marked: marked, calls: calls, end: end}
				group := testGroup(t)
				dial := loopback(t, group, p.serve)
				for most := range calls * length { // with all of them nobody would wait for the end
					p.most.Store(int64(most))
					s := NewSet(Config{Dial: dial, MaxConns: 1, BackoffMin: time.Microsecond, BackoffMax: time.Microsecond})
					connect(t, s)
					whole := cutCalls(t, s, calls, payload)
					want := most / length
					if whole > want || whole < want && !end.resets {
						t.Errorf("after %d bytes: got %d replies, want %d of %d bytes", most, whole, want, length)
					}
					p.most.Store(-1)
					if got, err := roundTrip(t.Context(), s, payload, serverPatience); err != nil || !bytes.Equal(got, payload) {
						t.Errorf("after %d bytes: the next call got %q, %v", most, got, err)
					}
					if st := s.Stats(); st.InFlight != 0 {
						t.Errorf("after %d bytes: got %+v", most, st)
					}
					_ = s.Close()
				}
			})
		}
	}
}

// cutCalls makes calls at the same time and returns how many had their replies.
func cutCalls(t *testing.T, s *Set, calls int, payload []byte) int {
	t.Helper()
	var whole atomic.Int32
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			got, err := roundTrip(context.Background(), s, payload, serverPatience)
			var e *Error
			switch {
			case err == nil && bytes.Equal(got, payload):
				whole.Add(1)
			case err == nil:
				t.Errorf("got %q, want %q", got, payload)
			case !errors.As(err, &e) || e.Timeout() || e.NotSent() || !isPeersEnd(err):
				t.Errorf("got %v (%T)", err, errors.Unwrap(err))
			}
		})
	}
	wg.Wait()
	return int(whole.Load())
}

// TestRequestsCutAnywhere: a client stops after any number of bytes of its requests, in any way.
// The handler gets the whole ones, each once, and nothing else; whoever still reads gets their
// replies; nothing is left of the connection. A client that reads no more resets the connection
// when the first reply comes: the server skips what it has not begun to handle by then.
func TestRequestsCutAnywhere(t *testing.T) {
	for _, sig := range []frame.Signal{frame.SignalHello, frame.SignalNone} {
		for _, end := range cutEndings {
			t.Run(fmt.Sprintf("%v/%s", sig, end.name), func(t *testing.T) {
				var handled sync.Map // sequence ID to *atomic.Int32
				s := startMuxServer(t, "tcp", ServerConfig{Handler: handlerFunc(func(ctx context.Context, call *ServerCall) bool {
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
					p := s.dial(t)
					p.send(t, stream[:sent])
					end.do(p.Conn)
					whole := wholeFrames(frames, sent)
					if end.reads {
						wantReplies(t, p, first, whole)
						p.Close()
					}
					waitFor(t, "the connection to end", func() bool {
						st := s.Stats()
						return s.plain.ConnCount() == 0 && st.Conns == 0 && st.InFlight == 0 && st.PendingBytes == 0 &&
							(end.resets || st.Calls-before.Calls == uint64(whole))
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
					if !end.resets && total+skipped != whole || end.reads && skipped > 0 || whole > 0 && total == 0 && !end.resets {
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

// wantReplies checks that as many replies come, each to another call, and then the end.
func wantReplies(t *testing.T, p *muxPeer, first uint32, want int) {
	t.Helper()
	seen := map[uint32]bool{}
	for range want {
		r := p.mustReceive(t)
		if r.SeqID < first || r.SeqID >= first+uint32(want) || seen[r.SeqID] {
			t.Errorf("got a reply to %d", r.SeqID)
		}
		seen[r.SeqID] = true
	}
	if r, err := p.receive(); err != io.EOF {
		t.Errorf("got %+v, %v, want the end after %d replies", r.Prefix, err, want)
	}
}
