package mux

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// abandonCalls has n calls time out on s at once. Each must have begun.
func abandonCalls(t *testing.T, s *Set, n int) {
	t.Helper()
	var callers sync.WaitGroup
	for range n {
		callers.Go(func() {
			if _, err := roundTrip(t.Context(), s, nil, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
			}
		})
	}
	callers.Wait()
}

// TestAbandonedHoldPlaces: a call whose caller gave up holds its place until its reply comes; then
// a waiting call gets the place.
func TestAbandonedHoldPlaces(t *testing.T) {
	const most = 10
	for _, overload := range []Overload{WaitForRoom, FailFast} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				p := testpeer.NewServer(nc, true)
				defer nc.Close()
				first, _ := p.ReceiveCall()
				_ = p.Reply(first.SeqID, nil)
				var replying sync.WaitGroup
				defer replying.Wait()
				for n := 0; ; n++ {
					f, err := p.ReceiveCall()
					switch {
					case err != nil:
						return
					case n == 0:
						replying.Go(func() {
							<-release
							_ = p.Reply(f.SeqID, nil)
						})
					case n >= most: // calls that begin now
						_ = p.Reply(f.SeqID, f.Payload)
					}
				}
			}}
			s := d.set(t, Config{MaxConns: 1, MaxInFlight: most, Overload: overload})
			connect(t, s)
			abandonCalls(t, s, most)
			if st := s.Stats(); st.InFlight != 0 || st.Abandoned != most {
				t.Errorf("got %+v", st)
			}
			if overload == FailFast {
				if _, err := roundTrip(t.Context(), s, nil, time.Second); !errors.Is(err, ErrOverloaded) {
					t.Errorf("got %v, want %v", err, ErrOverloaded)
				}
				close(release)
				synctest.Wait()
			} else {
				time.AfterFunc(time.Second, func() { close(release) })
			}
			began := time.Now()
			if _, err := roundTrip(t.Context(), s, nil, time.Minute); err != nil || overload == WaitForRoom && time.Since(began) != time.Second {
				t.Errorf("got %v after %v", err, time.Since(began))
			}
			if st := s.Stats(); st.Abandoned != most-1 || st.LateReplies != 1 || st.Dials != 1 {
				t.Errorf("got %+v", st)
			}
		})
	}
}

// serveSlowly returns a peer that takes up to first for a connection's first call and up to d for
// each other one. It tells changed how many calls it has gained or lost.
func serveSlowly(first, d time.Duration, changed func(int32)) func(net.Conn, int) {
	return func(nc net.Conn, _ int) {
		defer nc.Close()
		p := testpeer.NewServer(nc, true)
		// One goroutine sends them: a bubble's time stands still where many wait for a mutex.
		replies := make(chan testpeer.Received, 100)
		var pending, writing sync.WaitGroup
		writing.Go(func() {
			for f := range replies {
				changed(-1)
				_ = p.Reply(f.SeqID, f.Payload)
			}
		})
		for most := first; ; most = d {
			f, err := p.ReceiveCall()
			if err != nil {
				break
			}
			changed(1)
			pending.Add(1)
			time.AfterFunc(time.Duration(1+rand.Int64N(int64(most))), func() {
				defer pending.Done()
				replies <- f
			})
		}
		pending.Wait()
		close(replies)
		writing.Wait()
	}
}

// TestAbandonedAreBounded has a server that is too slow for its clients for a long time: it never
// has more calls than may be in flight, and its connections, on which it answers, are kept.
func TestAbandonedAreBounded(t *testing.T) {
	const most, conns = 10, 2
	synctest.Test(t, func(t *testing.T) {
		var inside, worst atomic.Int32
		d := &pipeDialer{serve: serveSlowly(1, 3*time.Second, func(change int32) {
			if n := inside.Add(change); n > worst.Load() {
				worst.Store(n)
			}
		})}
		s := d.set(t, Config{MaxConns: conns, MaxInFlight: most})
		connect(t, s)
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				for range 100 {
					_, _ = roundTrip(t.Context(), s, nil, time.Duration(1+rand.IntN(1000))*time.Millisecond)
				}
			})
		}
		callers.Wait()
		time.Sleep(3 * time.Second)
		st := s.Stats()
		if st.Abandoned != 0 || st.InFlight != 0 || st.LateReplies < 10 || st.Drains != 0 || st.Dials != conns {
			t.Errorf("got %+v", st)
		}
		if n := worst.Load(); n != most*conns {
			t.Errorf("the server had %d calls at a time, want %d", n, most*conns)
		}
	})
}

// TestLostReplies has a server that never answers some calls. When they have held half of a
// connection's places for long, the connection is replaced, whether or not there are other calls,
// so that they do not hold places forever. Fewer than half of them only hold their places.
func TestLostReplies(t *testing.T) {
	const most = 10
	for _, lost := range []int{most/2 - 1, most / 2, most} {
		synctest.Test(t, func(t *testing.T) {
			var dials int
			d := &pipeDialer{serve: func(nc net.Conn, n int) {
				defer nc.Close()
				p := testpeer.NewServer(nc, true)
				if n > 1 {
					p.Echo()
					return
				}
				if f, err := p.ReceiveCall(); err != nil || p.Reply(f.SeqID, nil) != nil {
					return
				}
				for range lost {
					_, _ = p.ReceiveCall()
				}
				p.Echo()
			}}
			dials = 1
			s := d.set(t, Config{MaxConns: 1, MaxInFlight: most})
			connect(t, s)
			abandonCalls(t, s, lost)
			replaced := lost*2 >= most
			time.Sleep(lostTime - 2*time.Second)
			if st := s.Stats(); st.Drains != 0 || st.Abandoned != lost {
				t.Errorf("%d lost, early: got %+v", lost, st)
			}
			if replaced {
				dials = 2
			}
			time.Sleep(lostTime / 2)
			if st := s.Stats(); (st.Drains == 1) != replaced || st.Deaths != 0 {
				t.Errorf("%d lost, late: got %+v", lost, st)
			}
			connect(t, s)
			if st := s.Stats(); st.Dials != uint64(dials) || (st.Abandoned == 0) != replaced {
				t.Errorf("%d lost, after it: got %+v", lost, st)
			}
		})
	}
}

// TestAbandonedElsewhere: a call takes the connection with room, not the one whose calls were
// abandoned.
func TestAbandonedElsewhere(t *testing.T) {
	const most = 10
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, n int) {
			defer nc.Close()
			p := testpeer.NewServer(nc, true)
			if n > 1 {
				p.Echo()
				return
			}
			if f, err := p.ReceiveCall(); err == nil && p.Reply(f.SeqID, nil) == nil {
				_, _ = io.Copy(io.Discard, p.In)
			}
		}}
		s := d.set(t, Config{MaxConns: 2, MaxInFlight: most, Overload: FailFast})
		connect(t, s)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		for range most - 1 { // one by one, on the first connection
			c := mustBegin(t, s)
			mustSend(t, c, nil)
			synctest.Wait() // the pipe has taken it
			c.ctx = canceled
			c.End()
		}
		if err := s.WarmUp(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		for range 5 * most {
			wantAnswer(t, s, nil, time.Second)
		}
		if st := s.Stats(); st.Connections != 2 || st.Abandoned != most-1 {
			t.Errorf("got %+v", st)
		}
	})
}
