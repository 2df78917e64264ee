package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// cancelled is peers that answer only their first request; any other one they answer when it is
// cancelled.
type cancelled struct {
	pipeDialer

	mu       sync.Mutex
	requests map[uint32]bool // guarded by mu: by sequence ID, whether it was cancelled
	frames   int             // guarded by mu: that cancelled something
	unknown  int             // guarded by mu: cancels of requests that did not come
}

func newCancelled(answers bool) *cancelled {
	r := &cancelled{requests: make(map[uint32]bool)}
	r.serve = func(nc net.Conn, _ int) {
		defer nc.Close()
		p := testpeer.NewServer(nc, true)
		first := true
		for {
			f, err := p.Receive()
			if err != nil {
				return
			}
			switch {
			case f.Signal == frame.SignalCancel && f.IsControl():
				r.cancel(p, f.Message, answers)
			case f.IsControl() || f.IsOneway():
			case first:
				first = false
				_ = p.Reply(f.SeqID, f.Payload)
			default:
				r.mu.Lock()
				r.requests[f.SeqID] = false
				r.mu.Unlock()
			}
		}
	}
	return r
}

func (r *cancelled) cancel(p *testpeer.Server, m frame.Message, answers bool) {
	var ids []uint32
	r.mu.Lock()
	r.frames++
	for id := range m.SeqIDs {
		if done, came := r.requests[id]; !came || done {
			r.unknown++
		}
		r.requests[id] = true
		ids = append(ids, id)
	}
	r.mu.Unlock()
	if answers {
		_ = p.Tell(frame.Message{Signal: frame.SignalRefused, Reason: frame.ReasonCancelled}, ids...)
	}
}

// told returns how many requests were cancelled, in how many frames.
func (r *cancelled) told() (requests, frames, unknown int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, done := range r.requests {
		if done {
			requests++
		}
	}
	return requests, r.frames, r.unknown
}

// TestCallersWhoLeaveAreToldOf: the peer is told of each caller that leaves before the reply, of
// callers that leave together in one frame, and of nothing else. Their slots are free when the peer
// has answered, and not before.
func TestCallersWhoLeaveAreToldOf(t *testing.T) {
	for _, answers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const calls, stay = 100, 10
			r := newCancelled(answers)
			s := r.set(t, Config{MaxConns: 1})
			if _, err := roundTrip(t.Context(), s, []byte("first"), 0); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for i := range calls + stay {
				timeout := time.Second
				if i < stay {
					timeout = 10 * time.Second
				}
				wg.Go(func() {
					if _, err := roundTrip(ctx, s, []byte("x"), timeout); err == nil {
						t.Error("a call has a reply")
					}
				})
			}
			for range 10 {
				sendOneway(t, s)
			}
			time.Sleep(2 * time.Second)
			if n, frames, unknown := r.told(); n != calls || frames != 1 || unknown > 0 {
				t.Errorf("the peer was told of %d callers in %d frames, and of %d others", n, frames, unknown)
			}
			late := calls
			if answers {
				late = 0
			}
			if st := s.Stats(); st.InFlight != stay || st.Abandoned != late || st.Cancels != calls {
				t.Errorf("got %+v", st)
			}
			stop()
			wg.Wait()
			time.Sleep(time.Second)
			if n, frames, unknown := r.told(); n != calls+stay || frames != 2 || unknown > 0 {
				t.Errorf("the peer was told of %d callers in %d frames, and of %d others", n, frames, unknown)
			}
		})
	}
}

// TestUnsentIsNotCancelled: the peer is not told of a request of which nothing has left.
func TestUnsentIsNotCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var frames int
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewServer(nc, true)
			f, err := p.Receive()
			if err == nil {
				err = p.Reply(f.SeqID, nil)
			}
			<-release
			for err == nil {
				if f, err = p.Receive(); err == nil && f.IsControl() && f.Signal == frame.SignalCancel {
					frames++
				}
			}
		}}
		s := NewSet(Config{Dial: d.dial, MaxConns: 1})
		if _, err := roundTrip(t.Context(), s, nil, 0); err != nil {
			t.Fatal(err)
		}
		stuck := mustBegin(t, s)
		fill(stuck, make([]byte, 1<<20)) // which the pipe does not take
		if err := stuck.Send(); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := roundTrip(t.Context(), s, []byte("x"), 100*time.Millisecond)
				var failed *Error
				if !errors.As(err, &failed) || !failed.NotSent() {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		time.Sleep(100 * time.Millisecond)
		if st := s.Stats(); st.Cancels > 0 || st.Abandoned > 0 {
			t.Errorf("got %+v", st)
		}
		close(release)
		_ = s.Close()
		stuck.End()
		d.wg.Wait()
		if frames > 0 {
			t.Errorf("the peer was told of %d cancels", frames)
		}
	})
}

// TestCancelsLeaveBeforeTheEnd: callers that leave a draining connection are told of before this
// side closes its half.
func TestCancelsLeaveBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newCancelled(false)
		s := r.set(t, Config{MaxConns: 1})
		if _, err := roundTrip(t.Context(), s, nil, 0); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := roundTrip(ctx, s, []byte("x"), 0); errors.Is(err, io.EOF) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		s.Drain()
		stop()
		wg.Wait()
		time.Sleep(time.Second)
		if n, _, unknown := r.told(); n != 5 || unknown > 0 {
			t.Errorf("the peer was told of %d callers and %d others", n, unknown)
		}
	})
}
