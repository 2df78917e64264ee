package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestBackoffBeforeFirstReply calls a peer for a while whose connections end before the first
// reply, in several ways. The set dials it ever more rarely, and every call is told at once what
// happened. Once the peer is well, calls find it within one and a half times the trouble's time and
// BackoffMaxClosed.
func TestBackoffBeforeFirstReply(t *testing.T) {
	for name, end := range map[string]func(nc net.Conn){
		"accepts and closes": func(net.Conn) {},
		"closes at the first request": func(nc net.Conn) {
			_, _ = testpeer.NewServer(nc, true).Receive()
		},
		"is no such server": func(nc net.Conn) {
			_, _ = testpeer.NewServer(nc, true).Receive()
			_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
		},
		"drains at the first request": func(nc net.Conn) {
			p := testpeer.NewServer(nc, true)
			_, _ = p.Receive()
			_ = p.Control(frame.SignalDrain)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var well atomic.Bool
				d := &pipeDialer{serve: func(nc net.Conn, _ int) {
					defer nc.Close()
					if well.Load() {
						testpeer.NewServer(nc, true).Echo()
						return
					}
					end(nc)
				}}
				s := d.set(t, Config{})
				const callers, span = 20, 4 * time.Second
				stop := time.Now().Add(span)
				done := make(chan struct{})
				for range callers {
					go func() {
						for time.Now().Before(stop) {
							began := time.Now()
							if _, err := roundTrip(t.Context(), s, []byte("x"), time.Minute); err == nil {
								t.Error("a call was answered")
							}
							if took := time.Since(began); took > 2*defaultBackoffMax {
								t.Errorf("a call failed after %v", took)
							}
							time.Sleep(time.Millisecond)
						}
						done <- struct{}{}
					}()
				}
				for range callers {
					<-done
				}
				// A pause is at least half of defaultBackoffClosed, and a few shorter ones come
				// before.
				if n, most := int(d.dials.Load()), int(2*span/defaultBackoffClosed)+15; n > most || n < 10 {
					t.Errorf("%d dials in %v, want at most %d", n, span, most)
				}
				well.Store(true)
				back := time.Now()
				for {
					if _, err := roundTrip(t.Context(), s, nil, 0); err == nil {
						break
					}
					time.Sleep(time.Millisecond)
				}
				if took := time.Since(back); took > defaultBackoffClosed*3/2+time.Millisecond {
					t.Errorf("a call got through %v after the peer was well", took)
				}
				for range 100 {
					began := time.Now()
					connect(t, s)
					if took := time.Since(began); took > 0 {
						t.Errorf("a call to the peer that is well took %v", took)
					}
				}
			})
		})
	}
}

// TestBackoffWaits has one call wait for a peer that accepts and closes.
func TestBackoffWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) { nc.Close() }}
		s := d.set(t, Config{})
		_, err := s.Begin(t.Context(), time.Now().Add(time.Second))
		var e *Error
		if err != nil && (!errors.As(err, &e) || !e.NotSent() || e.Timeout()) {
			t.Errorf("got %v, want why it got no connection", err)
		}
		if n := d.dials.Load(); n > 5 {
			t.Errorf("%d dials", n)
		}
	})
}

// TestNoBackoffAfterLongLife ends connections that have lived for a while without a reply, as
// happens to connections with oneway calls only that their peer finds idle: the next call opens
// another one at once.
func TestNoBackoffAfterLongLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			_ = nc.SetReadDeadline(time.Now().Add(time.Minute))
			_, _ = io.Copy(io.Discard, nc)
			nc.Close()
		}}
		s := d.set(t, Config{MaxConns: 1})
		for range 20 {
			began := time.Now()
			c := mustBegin(t, s)
			fill(c, []byte("oneway"))
			if err := c.SendOneway(); err != nil {
				t.Error(err)
			}
			c.End()
			if took := time.Since(began); took > 0 {
				t.Errorf("a call took %v", took)
			}
			time.Sleep(time.Minute + time.Nanosecond)
			synctest.Wait()
		}
	})
}

// TestBackoffEndsWithReply alternates failed dials with connections that die before a reply: only a
// reply makes the pauses short again.
func TestBackoffEndsWithReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var replies atomic.Bool
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			if replies.Load() {
				p := testpeer.NewServer(nc, true)
				f, _ := p.Receive()
				_ = p.Reply(f.SeqID, nil)
			}
		}}
		dials := 0
		s := NewSet(Config{BackoffMin: time.Second, BackoffMax: time.Hour, BackoffMaxClosed: time.Hour, Dial: func(ctx context.Context) (*conn.Conn, error) {
			dials++
			if dials%2 == 0 && !replies.Load() {
				return nil, errDial
			}
			return d.dial(ctx)
		}})
		fails := func(n int) {
			for range n {
				_, _ = roundTrip(t.Context(), s, nil, time.Minute)
				time.Sleep(time.Second / 10)
			}
		}
		fails(1000)
		if dials > 10 || dials < 4 {
			t.Errorf("%d dials in 100 s, want one as each pause is over", dials)
		}
		replies.Store(true)
		time.Sleep(2 * time.Hour)
		connect(t, s)
		synctest.Wait()
		replies.Store(false)
		before := dials
		fails(100)
		if dials < before+2 {
			t.Errorf("%d dials in 10 s after a reply", dials-before)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}

// TestPauseOutlived: the timer of a pause that was ended may have fired already. It does not end
// the next pause.
func TestPauseOutlived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Config{Dial: newEchoDialer(true).dial})
		begin := func() uint64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.pauseLocked(time.Hour)
			return s.backoff.pauses
		}
		first := begin()
		s.recovered()
		s.endPause(first)
		second := begin()
		s.endPause(first)
		s.mu.Lock()
		over := s.backoff.pause == nil
		s.mu.Unlock()
		if over {
			t.Error("the pause is over")
		}
		s.endPause(second)
		if !s.CloseIfUnused() {
			t.Error("the pause is not over")
		}
		_ = s.Close()
	})
}

// TestCountedOnce: a connection that ends as its peer drains it counts as one failure, whatever is
// noticed first.
func TestCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			_, _ = testpeer.NewServer(nc, true).Receive()
			nc.Close()
		}}
		s := d.set(t, Config{})
		c := mustBegin(t, s)
		cc := (*s.list.Load())[0]
		mustSend(t, c, nil)
		if _, err := c.Receive(); err == nil {
			t.Error("the call was answered")
		}
		c.End()
		s.peerDrained(cc)
		if s.backoff.faults != 1 {
			t.Errorf("%d failures, want one", s.backoff.faults)
		}
	})
}

// TestSpareEndsWithLast has one connection work while others end before their first reply, several
// together, or are being watched before they get calls. Once the working one has ended too, calls
// wait for neither.
func TestSpareEndsWithLast(t *testing.T) {
	for name, looking := range map[string]bool{"pause": false, "look": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const warm = 3
				var works atomic.Bool
				endOthers, endWorking := make(chan struct{}), make(chan struct{})
				d := &pipeDialer{serve: func(nc net.Conn, n int) {
					defer nc.Close()
					if n > warm {
						testpeer.NewServer(nc, true).Echo()
						return
					}
					p := testpeer.NewServer(nc, false)
					_, _ = p.Receive()
					if !works.CompareAndSwap(false, true) {
						<-endOthers
						return
					}
					_ = p.SayHello()
					go func() {
						<-endWorking
						nc.Close()
					}()
					for {
						if _, err := p.ReceiveCall(); err != nil {
							return
						}
					}
				}}
				s := d.set(t, Config{MaxConns: warm})
				if err := s.WarmUp(t.Context(), warm); err != nil {
					t.Fatal(err)
				}
				var held sync.WaitGroup
				hold := func() {
					held.Go(func() { _, _ = roundTrip(t.Context(), s, nil, time.Minute) })
					synctest.Wait()
				}
				for range warm {
					hold()
				}
				close(endOthers)
				synctest.Wait()
				if st := s.Stats(); st.Shared != 1 || st.InFlight != 1 {
					t.Fatalf("got %+v, want a connection that works", st)
				}
				if looking {
					time.Sleep(2 * defaultBackoffClosed)
					hold()
				}
				if n := d.dials.Load(); n > warm != looking {
					t.Fatalf("%d dials", n)
				}
				close(endWorking)
				held.Wait()
				began := time.Now()
				connect(t, s)
				if took := time.Since(began); took > 2*defaultBackoffMax {
					t.Errorf("a call took %v", took)
				}
			})
		})
	}
}

// TestServerAtItsLimit has a server that accepts connections and closes them while it has one:
// calls go on with that one, none fails, and the server is dialed at most once in two seconds.
// When it has room, the set opens as many connections as it may.
func TestServerAtItsLimit(t *testing.T) {
	for _, tt := range []struct {
		closes time.Duration // after it has accepted
		age    time.Duration // of the working connection, which must be replaced then
	}{
		{0, 0}, {minGrace / 2, 0}, {0, time.Minute}, {minGrace / 2, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			const conns, callers, span = 4, 8, 5 * time.Minute
			var room atomic.Bool
			d := &pipeDialer{serve: func(nc net.Conn, n int) {
				defer nc.Close()
				if n > 1 && !room.Load() {
					time.Sleep(tt.closes)
					return
				}
				testpeer.NewServer(nc, true).Echo()
			}}
			s := d.set(t, Config{MaxConns: conns, MaxAge: tt.age})
			connect(t, s)
			stop := make(chan struct{})
			var calling sync.WaitGroup
			for range callers {
				calling.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(200 * time.Millisecond):
						}
						if _, err := roundTrip(t.Context(), s, []byte("x"), time.Minute); err != nil {
							t.Errorf("%+v: got %v", tt, err)
						}
					}
				})
			}
			time.Sleep(span)
			if n, most := d.dials.Load(), 2+int32(span/defaultBackoffClosed); n > most || n < most/4 {
				t.Errorf("%+v: %d dials in %v, want at most %d", tt, n, span, most)
			}
			room.Store(true)
			time.Sleep(2 * conns * defaultBackoffClosed)
			if st := s.Stats(); st.Shared < conns {
				t.Errorf("%+v: got %+v, want %d connections", tt, st, conns)
			}
			close(stop)
			calling.Wait()
		})
	}
}

// TestLimitedThenAlone ends the only working connection while the set dials no others because it
// works: the next call neither waits for the end of that pause nor fails because of it.
func TestLimitedThenAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limited atomic.Bool
		gone := make(chan struct{})
		d := &pipeDialer{serve: func(nc net.Conn, n int) {
			defer nc.Close()
			if n > 1 && limited.Load() {
				return
			}
			if n == 1 {
				go func() { <-gone; nc.Close() }()
			}
			testpeer.NewServer(nc, true).Echo()
		}}
		s := d.set(t, Config{MaxConns: 2})
		connect(t, s)
		limited.Store(true)
		if err := s.WarmUp(t.Context(), 2); err == nil {
			t.Error("a connection that was closed at once counts as warm")
		}
		limited.Store(false)
		close(gone)
		time.Sleep(2 * watchPeriod)
		synctest.Wait()
		began := time.Now()
		if _, err := roundTrip(t.Context(), s, nil, time.Minute); err != nil || time.Since(began) > 0 {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}
