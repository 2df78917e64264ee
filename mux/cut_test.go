package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// cutPeer answers the first call of each connection if it shares them, takes as many more calls as
// it wants, and then sends only the first bytes of their replies before it stops.
type cutPeer struct {
	marked bool
	calls  int
	most   atomic.Int64 // bytes of the replies that are sent; negative: all, and it goes on
	end    testpeer.Ending
}

func (p *cutPeer) serve(nc net.Conn) {
	defer nc.Close()
	peer := testpeer.NewServer(nc, p.marked)
	if p.most.Load() < 0 {
		peer.Echo()
		return
	}
	if p.marked {
		if f, err := peer.Receive(); err != nil || peer.Reply(f.SeqID, f.Payload) != nil {
			return
		}
	}
	var replies []byte
	for range p.calls {
		f, err := peer.Receive()
		if err != nil {
			return
		}
		replies = append(replies, testpeer.RequestFrame(f.SeqID, f.Payload)...)
	}
	if _, err := nc.Write(replies[:p.most.Load()]); err != nil {
		return
	}
	p.end.Do(nc)
	_, _ = io.Copy(io.Discard, peer.In) // until the client has closed too
}

// isPeersEnd reports whether err says that the peer has ended the connection.
func isPeersEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || testsystem.IsReset(err)
}

// TestRepliesCutAnywhere: a server stops after any number of bytes of the replies to calls in
// flight, in any way. Calls whose replies came whole have them. The others fail at once, with a
// typed error and as sent, and the next call takes a new connection. A peer that does not share is
// tested with one call.
func TestRepliesCutAnywhere(t *testing.T) {
	for _, marked := range []bool{true, false} {
		calls, kind := 3, "shared"
		if !marked {
			calls, kind = 1, "unshared"
		}
		payload := []byte("what was asked for")
		length := len(testpeer.RequestFrame(1, payload))
		for _, end := range testpeer.Endings() {
			t.Run(kind+"/"+end.Name, func(t *testing.T) {
				p := &cutPeer{marked: marked, calls: calls, end: end}
				group := testGroup(t)
				dial := loopback(t, group, p.serve)
				for most := range calls * length { // with all bytes no call would wait for the end
					p.most.Store(int64(most))
					s := NewSet(Config{Dial: dial, MaxConns: 1, BackoffMin: time.Microsecond, BackoffMax: time.Microsecond})
					if marked {
						connect(t, s)
					}
					whole := cutCalls(t, s, calls, payload)
					want := most / length
					if whole > want || whole < want && !end.Resets {
						t.Errorf("after %d bytes: got %d replies, want %d of %d bytes", most, whole, want, length)
					}
					p.most.Store(-1)
					if got, err := roundTrip(t.Context(), s, payload, testpeer.Patience); err != nil || !bytes.Equal(got, payload) {
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
			got, err := roundTrip(context.Background(), s, payload, testpeer.Patience)
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
