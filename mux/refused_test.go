package mux

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// refusing is peers that have room for few requests, and refuse the others.
type refusing struct {
	pipeDialer
	hello  frame.Message
	reason frame.Reason
	room   int
	takes  time.Duration // a request

	mu         sync.Mutex
	held, most int // guarded by mu: requests that are handled
	refused    int
	ran        map[string]int // by payload
	owesRoom   map[*testpeer.Server]bool
}

func newRefusing(room int, takes time.Duration) *refusing {
	r := &refusing{room: room, takes: takes, reason: frame.ReasonNoRoom, ran: make(map[string]int), owesRoom: make(map[*testpeer.Server]bool)}
	r.serve = func(nc net.Conn, _ int) {
		defer nc.Close()
		p := testpeer.NewLimitedServer(nc, r.hello)
		var handling sync.WaitGroup
		defer handling.Wait()
		for {
			f, err := p.Receive()
			if err != nil {
				return
			}
			switch {
			case f.Signal == frame.SignalPing:
				_ = p.Control(frame.SignalPong)
			case f.IsControl():
			default:
				r.take(p, f, &handling)
			}
		}
	}
	return r
}

// take handles a request, or refuses it.
func (r *refusing) take(p *testpeer.Server, f testpeer.Received, handling *sync.WaitGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held >= r.room {
		r.refused++
		r.owesRoom[p] = true
		handling.Go(func() {
			_ = p.Tell(frame.Message{Signal: frame.SignalRefused, Reason: r.reason}, f.SeqID)
		})
		return
	}
	r.held++
	r.most = max(r.most, r.held)
	r.ran[string(f.Payload)]++
	handling.Go(func() {
		time.Sleep(r.takes)
		r.mu.Lock()
		r.held--
		var told []*testpeer.Server
		if r.held <= r.room/2 {
			told = slices.Collect(maps.Keys(r.owesRoom))
			clear(r.owesRoom)
		}
		r.mu.Unlock()
		_ = p.Reply(f.SeqID, f.Payload)
		for _, p := range told {
			_ = p.Control(frame.SignalRoom)
		}
	})
}

// callAgain makes a call, and makes it again while it is refused.
func callAgain(ctx context.Context, s *Set, payload []byte, timeout time.Duration) ([]byte, error) {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	c, err := s.Begin(ctx, deadline)
	if err != nil {
		return nil, err
	}
	defer c.End()
	for {
		fill(c, payload)
		if err := c.Send(); err != nil {
			return nil, err
		}
		reply, err := c.Receive()
		if err == nil {
			return replyPayload(reply)
		}
		if !errors.Is(err, ErrRefused) {
			return nil, err
		}
		if err := c.Again(); err != nil {
			return nil, err
		}
	}
}

// TestRefusedCallsEnd makes far more calls to a peer than it has room for: each is run once, and
// few are refused.
func TestRefusedCallsEnd(t *testing.T) {
	for _, room := range []int{1, 16, 100} {
		synctest.Test(t, func(t *testing.T) {
			const calls = 1000
			r := newRefusing(room, 10*time.Millisecond)
			s := NewSet(Config{Dial: r.dial})
			if _, err := callAgain(t.Context(), s, []byte("first"), 0); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range calls {
				wg.Go(func() {
					payload := []byte{'c', byte(i), byte(i >> 8)}
					if got, err := callAgain(t.Context(), s, payload, 0); err != nil || !bytes.Equal(got, payload) {
						t.Errorf("call %d: got %q, %v", i, got, err)
					}
				})
			}
			wg.Wait()
			st := s.Stats()
			if len(r.ran) != calls+1 || int(st.Refused) != r.refused || st.InFlight+st.Abandoned+st.Waiting > 0 {
				t.Errorf("room %d: %d calls were run, %d refused, %+v", room, len(r.ran), r.refused, st)
			}
			for payload, n := range r.ran {
				if n > 1 {
					t.Errorf("%q was run %d times", payload, n)
				}
			}
			t.Logf("room %d: %d refusals", room, r.refused)
			if most := calls + 20*calls/room + 2*calls; r.refused > most {
				t.Errorf("room %d: %d refusals of %d calls, want %d at most", room, r.refused, calls, most)
			}
			_ = s.Close()
			r.wg.Wait()
		})
	}
}

// TestRefusalsAreNamed: the caller is told the peer's reason, and whether the call may be made
// again.
func TestRefusalsAreNamed(t *testing.T) {
	var large *FrameError
	for _, tc := range []struct {
		reason frame.Reason
		is     func(err error) bool
		safe   bool
	}{
		{frame.ReasonNoRoom, func(err error) bool { return errors.Is(err, ErrRefused) }, true},
		{frame.ReasonGoing, func(err error) bool { return errors.Is(err, ErrRefused) }, true},
		{frame.ReasonOverdue, func(err error) bool {
			return errors.Is(err, ErrOverdue) && errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, ErrRefused)
		}, true},
		{frame.ReasonNone, func(err error) bool { return errors.Is(err, ErrRefused) }, true},
		{99, func(err error) bool { return errors.Is(err, ErrRefused) }, true},
		{frame.ReasonTooLarge, func(err error) bool { return errors.As(err, &large) && !large.Received }, true},
		{frame.ReasonCancelled, func(err error) bool { return !errors.Is(err, ErrRefused) }, false},
	} {
		t.Run(tc.reason.String(), func(t *testing.T) {
			r := newRefusing(0, 0)
			r.reason = tc.reason
			s := newTestSet(t, Config{Dial: r.dial})
			_, err := roundTrip(t.Context(), s, []byte("x"), testpeer.Patience)
			var failed *Error
			if !errors.As(err, &failed) || !tc.is(err) || failed.NotSent() != tc.safe {
				t.Errorf("got %v", err)
			}
			if st := s.Stats(); st.InFlight+st.Abandoned > 0 || st.Connections != 1 || st.Refused != 1 {
				t.Errorf("got %+v", st)
			}
		})
	}
}

// TestRefusedUntilItsTimeIsOver: a call that finds no room in its time fails with both, and with
// FailFast at once.
func TestRefusedUntilItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = time.Second
		for _, policy := range []Overload{WaitForRoom, FailFast} {
			r := newRefusing(0, 0)
			s := r.set(t, Config{Overload: policy})
			began := time.Now()
			_, err := callAgain(t.Context(), s, []byte("x"), timeout)
			took := time.Since(began)
			var failed *Error
			if !errors.Is(err, ErrRefused) || !errors.As(err, &failed) || !failed.NotSent() {
				t.Errorf("%v: got %v", policy, err)
			}
			if late := errors.Is(err, os.ErrDeadlineExceeded); late != (policy == WaitForRoom) {
				t.Errorf("%v: got %v", policy, err)
			}
			if policy == FailFast && took > 0 || policy == WaitForRoom && (took != timeout || r.refused > 40) {
				t.Errorf("%v: took %v, and was refused %d times", policy, took, r.refused)
			}
		}
	})
}

// TestRoomIsUsed: calls begin at once when the peer says that it has room.
func TestRoomIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ready := make(chan *testpeer.Server, 1)
		var refuse atomic.Bool
		refuse.Store(true)
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewServer(nc, true)
			ready <- p
			for {
				f, err := p.Receive()
				switch {
				case err != nil:
					return
				case f.IsControl():
				case refuse.Load():
					_ = p.Tell(frame.Message{Signal: frame.SignalRefused, Reason: frame.ReasonNoRoom}, f.SeqID)
				default:
					_ = p.Reply(f.SeqID, f.Payload)
				}
			}
		}}
		s := d.set(t, Config{MaxConns: 1})
		done := make(chan error, 1)
		go func() {
			_, err := callAgain(context.Background(), s, []byte("x"), 0)
			done <- err
		}()
		p := <-ready
		time.Sleep(10*maxRefusalPause + time.Microsecond) // the pauses are long now
		refuse.Store(false)
		told := time.Now()
		_ = p.Control(frame.SignalRoom)
		if err := <-done; err != nil || time.Since(told) > 0 {
			t.Errorf("got %v after %v", err, time.Since(told))
		}
	})
}

// TestOthersTakeACallThatWasRefused: a call that one connection's peer refuses goes to another
// connection.
func TestOthersTakeACallThatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, n int) {
			defer nc.Close()
			p := testpeer.NewServer(nc, true)
			for {
				f, err := p.Receive()
				switch {
				case err != nil:
					return
				case f.IsControl():
				case n == 1:
					_ = p.Tell(frame.Message{Signal: frame.SignalRefused, Reason: frame.ReasonNoRoom}, f.SeqID)
				default:
					_ = p.Reply(f.SeqID, f.Payload)
				}
			}
		}}
		s := d.set(t, Config{MaxConns: 2})
		began := time.Now()
		for range 10 {
			if _, err := callAgain(t.Context(), s, []byte("x"), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 2*minGrace { // for a connection to be dialed
			t.Errorf("took %v", took)
		}
	})
}

// TestAgainOfOthers: only a call that was refused gets another place.
func TestAgainOfOthers(t *testing.T) {
	d := newEchoDialer(true)
	s := newTestSet(t, Config{Dial: d.dial})
	c := mustBegin(t, s)
	defer c.End()
	var bad *FrameError
	if err := c.Again(); !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
}
