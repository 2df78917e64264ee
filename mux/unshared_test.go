package mux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// keeper keeps the connections that a set hands over.
type keeper struct {
	mu    sync.Mutex
	conns []*conn.Conn
}

func (k *keeper) keep(c *conn.Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = append(k.conns, c)
}

func (k *keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.conns)
}

func (k *keeper) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		_ = c.Close()
	}
}

// exchange makes a call on a connection that was handed over, without the set.
func exchange(c *conn.Conn, payload []byte) error {
	if _, err := c.Write(testpeer.RequestFrame(7, payload)); err != nil {
		return err
	}
	f, err := testpeer.Receive(c)
	if err == nil && (f.SeqID != 7 || !bytes.Equal(f.Payload, payload)) {
		err = errors.New("another call's reply")
	}
	return err
}

// TestHandOver: a connection whose peer does not share it is handed over when its only call has
// ended, and not before. Its new owner may use it for as long as it likes, whatever limits that
// call had. The set leaves it alone, and counts it until it is closed, or until the set itself is
// closed.
func TestHandOver(t *testing.T) {
	for _, network := range []string{"pipe", "tcp"} {
		t.Run(network, func(t *testing.T) {
			var kept keeper
			dial := raceDial(t, network, func(nc net.Conn) { testpeer.NewServer(nc, false).Echo() })
			s := newTestSet(t, Config{Dial: dial, Unshared: kept.keep, Heartbeat: time.Millisecond, IdleTimeout: 20 * time.Millisecond, MaxAge: time.Millisecond})
			for n := range 3 {
				ctx, cancel := context.WithCancel(t.Context())
				c, err := s.Begin(ctx, time.Now().Add(testpeer.Patience))
				if err != nil {
					t.Fatal(err)
				}
				mustSend(t, c, []byte("x"))
				if _, err := c.Receive(); err != nil {
					t.Fatal(err)
				}
				if got := kept.count(); got != n {
					t.Errorf("%d handed over before the end of call %d", got, n)
				}
				c.End()
				cancel() // a reader that no longer reads may be told
				testpeer.WaitFor(t, "the connection", func() bool { return kept.count() == n+1 })
				for range 3 {
					time.Sleep(25 * time.Millisecond) // the set's idle time and more
					if err := exchange(kept.conns[n], []byte("again")); err != nil {
						t.Errorf("connection %d: %v", n, err)
					}
				}
			}
			if st := s.Stats(); st.Connections != 3 || st.Pooled != 3 || st.InFlight != 0 || st.Deaths+st.Drains != 0 {
				t.Errorf("got %+v", st)
			}
			_ = kept.conns[0].Close()
			testpeer.WaitFor(t, "its end", func() bool { return s.Stats().Pooled == 2 })
			_ = s.Close()
			if st := s.Stats(); st.Connections != 0 {
				t.Errorf("after Close: got %+v", st)
			}
			if err := exchange(kept.conns[1], []byte("after Close")); err != nil {
				t.Error(err)
			}
			kept.close()
		})
	}
}

// TestHandOverRace has contexts of calls end when their replies come: that does not disturb a
// connection which is handed over all the same.
func TestHandOverRace(t *testing.T) {
	var exchanging sync.WaitGroup
	var handedOver atomic.Int32
	dial := raceDial(t, "tcp", func(nc net.Conn) { testpeer.NewServer(nc, false).Echo() })
	s := newTestSet(t, Config{Dial: dial, Unshared: func(c *conn.Conn) {
		handedOver.Add(1)
		exchanging.Go(func() {
			defer c.Close()
			for range 3 {
				if err := exchange(c, []byte("again")); err != nil {
					t.Error(err)
				}
			}
		})
	}})
	var calling sync.WaitGroup
	for range 4 {
		calling.Go(func() {
			for i := range testpeer.Rounds(150) {
				ctx, cancel := context.WithCancel(context.Background())
				after := time.Duration(i%20) * 10 * time.Microsecond
				if i == 0 { // at least one is handed over, however slow the machine is
					after = testpeer.Patience
				}
				timer := time.AfterFunc(after, cancel)
				if _, err := roundTrip(ctx, s, []byte("x"), testpeer.Patience); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				timer.Stop()
				cancel()
			}
		})
	}
	calling.Wait()
	_ = s.Close() // no more are handed over
	exchanging.Wait()
	if handedOver.Load() == 0 {
		t.Error("none was handed over")
	}
}

// TestHandedOverCount: as many connections as MaxUnshared are open, including those handed over. A
// call that waits for one gets it when another has ended. A dial that fails fails no call while
// another connection is open.
func TestHandedOverCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept keeper
		d := newEchoDialer(false)
		var failing atomic.Bool
		s := NewSet(Config{MaxUnshared: 3, Unshared: kept.keep, Dial: func(ctx context.Context) (*conn.Conn, error) {
			if failing.Load() {
				return nil, errDial
			}
			return d.dial(ctx)
		}})
		for range 3 {
			connect(t, s)
			synctest.Wait()
		}
		if _, err := roundTrip(t.Context(), s, nil, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want no place", err)
		}
		if s.CloseIfUnused() {
			t.Error("a set is of no use whose connections were handed over")
		}
		failing.Store(true)
		done := make(chan error)
		go func() {
			_, err := roundTrip(t.Context(), s, nil, time.Hour)
			done <- err
		}()
		synctest.Wait()
		_ = kept.conns[0].Close()
		time.Sleep(time.Second)
		if st := s.Stats(); st.Waiting != 1 || st.DialErrors < 10 {
			t.Errorf("got %+v, want a call that waits and failed dials", st)
		}
		failing.Store(false)
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if st := s.Stats(); st.Dials-st.DialErrors != 4 || st.Pooled != 3 || kept.count() != 4 {
			t.Errorf("got %+v, %d handed over", st, kept.count())
		}
		kept.close()
		synctest.Wait()
		if !s.CloseIfUnused() {
			t.Errorf("got %+v, want an unused set", s.Stats())
		}
		_ = s.Close()
		d.wg.Wait()
	})
}

// TestElsewhere: a waiting call stops waiting once its caller has got a connection elsewhere, and a
// call that has a place keeps it.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept keeper
		d := newEchoDialer(false)
		s := d.set(t, Config{MaxUnshared: 1, Unshared: kept.keep})
		elsewhere := make(chan struct{})
		c, err := s.BeginUnless(t.Context(), time.Time{}, elsewhere)
		if err != nil {
			t.Fatal(err)
		}
		for _, deadline := range []time.Time{{}, time.Now().Add(time.Hour)} {
			failed := make(chan error)
			own := make(chan struct{})
			go func() {
				_, err := s.BeginUnless(context.Background(), deadline, own)
				failed <- err
			}()
			synctest.Wait()
			close(own)
			var e *Error
			if err := <-failed; !errors.Is(err, ErrElsewhere) || !errors.As(err, &e) || !e.NotSent() || e.Timeout() {
				t.Errorf("got %v", err)
			}
		}
		close(elsewhere)
		fill(c, nil)
		if err := c.Send(); err != nil {
			t.Error(err)
		}
		if _, err := c.Receive(); err != nil {
			t.Error(err)
		}
		c.End()
		synctest.Wait()
		if st := s.Stats(); kept.count() != 1 || st.Waiting != 0 || s.Opens() {
			t.Errorf("got %+v", st)
		}
		kept.close()
		synctest.Wait()
		if !s.Opens() {
			t.Error("there is room again")
		}
	})
}

// TestBeginShared: BeginShared uses only shared connections, and dials none.
func TestBeginShared(t *testing.T) {
	for _, marked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := newEchoDialer(marked)
			s := NewSet(Config{Dial: d.dial, MaxConns: 1, MaxInFlight: 2})
			begin := func(want bool) *Call {
				t.Helper()
				c, ok := s.BeginShared(t.Context(), time.Time{})
				if ok != want {
					t.Errorf("marked %v: began %v, %+v", marked, ok, s.Stats())
				}
				return c
			}
			begin(false)
			if err := s.WarmUp(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			begin(false) // it may be shared
			connect(t, s)
			synctest.Wait()
			if marked {
				first, second := begin(true), begin(true)
				begin(false)
				first.End()
				second.End()
			}
			if st := s.Stats(); d.dials.Load() != 1 || st.InFlight != 0 {
				t.Errorf("marked %v: %+v", marked, st)
			}
			_ = s.Close()
			begin(false)
			d.wg.Wait()
		})
	}
}

// TestNotHandedOver: a connection that has bytes which belong to no call, or that was drained, is
// not handed over; one whose new owner panics is closed.
func TestNotHandedOver(t *testing.T) {
	for name, tc := range map[string]struct {
		tail []byte // what comes with the reply
		end  func(c *Call)
		take func(*conn.Conn)
		want int // calls of take
	}{
		"half a frame":       {tail: testpeer.RequestFrame(1, nil)[:9]},
		"drained":            {end: (*Call).Retire},
		"a new owner":        {take: func(*conn.Conn) {}, want: 1},
		"a panic":            {take: func(*conn.Conn) { panic("wild") }, want: 1},
		"an ended goroutine": {take: func(*conn.Conn) { runtime.Goexit() }, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &pipeDialer{serve: func(nc net.Conn, _ int) {
					defer nc.Close()
					p := testpeer.NewServer(nc, false)
					f, err := p.ReceiveCall()
					if err != nil {
						return
					}
					_, _ = nc.Write(append(testpeer.RequestFrame(f.SeqID, nil), tc.tail...))
					_, _ = io.Copy(io.Discard, p.In)
				}}
				taken := 0
				var kept keeper
				s := NewSet(Config{Dial: d.dial, Unshared: func(c *conn.Conn) {
					taken++
					kept.keep(c)
					if tc.take != nil {
						tc.take(c)
					}
				}})
				c := mustBegin(t, s)
				mustSend(t, c, nil)
				if _, err := c.Receive(); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if tc.end != nil {
					tc.end(c)
				}
				c.End()
				synctest.Wait()
				if taken != tc.want {
					t.Errorf("handed over %d times, want %d", taken, tc.want)
				}
				time.Sleep(time.Minute)
				if st := s.Stats(); (st.Connections > 0) != (name == "a new owner") {
					t.Errorf("got %+v", st)
				}
				_ = s.Close()
				kept.close()
				d.wg.Wait()
			})
		})
	}
}

// TestBeginSoon: a call that prefers to go elsewhere waits while connections are being opened, and
// goes there once none is; a call that waits for any connection stays.
func TestBeginSoon(t *testing.T) {
	for _, policy := range []Overload{WaitForRoom, FailFast} {
		synctest.Test(t, func(t *testing.T) {
			var kept keeper
			var failing atomic.Bool
			d := newEchoDialer(false)
			s := NewSet(Config{MaxUnshared: 2, Overload: policy, Unshared: kept.keep, Dial: func(ctx context.Context) (*conn.Conn, error) {
				time.Sleep(time.Second)
				if failing.Load() {
					return nil, errDial
				}
				return d.dial(ctx)
			}})
			soon := func(want error, took time.Duration) {
				t.Helper()
				began := time.Now()
				c, err := s.BeginSoon(t.Context(), time.Now().Add(time.Hour), nil)
				if !errors.Is(err, want) || time.Since(began) != took {
					t.Errorf("%v: got %v after %v, want %v after %v", policy, err, time.Since(began), want, took)
				}
				if err != nil {
					return
				}
				mustSend(t, c, nil)
				if _, err := c.Receive(); err != nil {
					t.Fatal(err)
				}
				c.End()
				synctest.Wait()
			}
			soon(nil, time.Second)
			failing.Store(true)
			soon(ErrElsewhere, time.Second) // none could be opened
			soon(ErrElsewhere, 0)           // nor is one now
			failing.Store(false)
			time.Sleep(time.Minute)
			soon(nil, time.Second)
			soon(ErrElsewhere, 0) // there are as many as there may be
			if st := s.Stats(); st.Waiting != 0 || st.Overloads != 0 || s.queue.impatient != 0 {
				t.Errorf("%v: got %+v, %d impatient", policy, st, s.queue.impatient)
			}
			kept.close()
			_ = s.Close()
			d.wg.Wait()
		})
	}
}

// TestHandedOverEnds: with FailFast a call waits if a connection that was handed over has ended and
// the set is about to be told, and fails if none has.
func TestHandedOverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept keeper
		told := make(chan struct{})
		d := newEchoDialer(false)
		s := NewSet(Config{Dial: d.dial, MaxUnshared: 2, Overload: FailFast, Unshared: func(c *conn.Conn) {
			kept.keep(c)
			// This is called before the set's callback.
			if err := c.AddCloseCallback(func(*conn.Conn) { <-told }); err != nil {
				t.Error(err)
			}
		}})
		for range 2 {
			connect(t, s)
			synctest.Wait()
		}
		if _, err := roundTrip(t.Context(), s, nil, time.Hour); !errors.Is(err, ErrOverloaded) {
			t.Errorf("got %v, want ErrOverloaded", err)
		}
		go kept.conns[0].Close() // which waits for the callbacks
		synctest.Wait()
		done := make(chan error)
		go func() {
			_, err := roundTrip(t.Context(), s, nil, time.Hour)
			done <- err
		}()
		synctest.Wait()
		if st := s.Stats(); st.Waiting != 1 || st.Pooled != 2 {
			t.Errorf("got %+v, want a call that waits", st)
		}
		close(told)
		if err := <-done; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if st := s.Stats(); st.Pooled != 2 || st.Waiting != 0 || st.Overloads != 1 {
			t.Errorf("got %+v", st)
		}
		kept.close()
		_ = s.Close()
		d.wg.Wait()
	})
}

// receive makes a call up to its end, and returns it.
func receive(t *testing.T, s *Set, payload []byte) *Call {
	t.Helper()
	c := mustBegin(t, s)
	mustSend(t, c, payload)
	if _, err := c.Receive(); err != nil {
		t.Fatal(err)
	}
	return c
}

// notify makes a oneway call up to its end, and returns it. If long is set it has no room for the
// mark.
func notify(t *testing.T, s *Set, long bool) *Call {
	t.Helper()
	c := mustBegin(t, s)
	if long {
		fillHeader(c, 4*(1<<16-1))
	} else {
		fill(c, nil)
	}
	if err := c.SendOneway(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHandOverUnwritten: a connection is not handed over if the rest of its request, which the peer
// has answered early, cannot be written.
func TestHandOverUnwritten(t *testing.T) {
	var kept keeper
	defer kept.close()
	stop := make(chan struct{})
	s := newTestSet(t, Config{WriteTimeout: 500 * time.Millisecond, Unshared: kept.keep, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		defer nc.Close()
		p := make([]byte, 1000)
		if _, err := io.ReadFull(nc, p); err != nil {
			return
		}
		_, _ = nc.Write(testpeer.RequestFrame(binary.BigEndian.Uint32(p[8:]), []byte("early")))
		<-stop
	})})
	defer close(stop)
	receive(t, s, make([]byte, 32<<20)).End()
	testpeer.WaitFor(t, "the write's timeout", func() bool { return s.Stats().Deaths > 0 || kept.count() > 0 })
	if kept.count() == 0 { // the counter of connections is told of the end when it is over
		testpeer.WaitFor(t, "the connection's end", func() bool { return s.Stats().Connections == 0 })
	}
	if st := s.Stats(); kept.count() != 0 || st.Connections != 0 || st.Deaths != 1 {
		t.Errorf("%d handed over, %+v", kept.count(), st)
	}
}

// TestHandOverUnread: without a poller too, a connection is handed over when its call has ended,
// however long after the reply that is.
func TestHandOverUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept keeper
		d := newEchoDialer(false)
		s := d.set(t, Config{Unshared: kept.keep})
		for n, pause := range []time.Duration{watchPeriod, 2 * watchPeriod, time.Hour} {
			c := receive(t, s, nil)
			time.Sleep(pause)
			c.End()
			synctest.Wait()
			if kept.count() != n+1 {
				t.Fatalf("%d handed over after %v, want %d: %+v", kept.count(), pause, n+1, s.Stats())
			}
			if err := exchange(kept.conns[n], []byte("again")); err != nil {
				t.Errorf("after %v: %v", pause, err)
			}
		}
		kept.close()
	})
}

// TestOnewayNotHandedOver: a connection is not handed over if the peer may still answer its oneway
// with an exception, which the next call would take for its reply. It ends when what the peer has
// sent was read, whether a poller or a watcher does so.
func TestOnewayNotHandedOver(t *testing.T) {
	for name, tc := range map[string]struct {
		long  bool          // the first oneway has no mark, so that no other call follows
		pause time.Duration // before a call ends
	}{
		"after an exception":          {},
		"after an exception, watched": {pause: time.Minute},
		"without a mark":              {long: true},
		"without a mark, watched":     {long: true, pause: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kept keeper
				var read atomic.Int32
				except := make(chan struct{})
				d := &pipeDialer{serve: func(nc net.Conn, n int) {
					defer nc.Close()
					p := testpeer.NewServer(nc, false)
					if n == 1 {
						p.Echo()
						return
					}
					for {
						f, err := p.ReceiveCall()
						if err != nil {
							return
						}
						if read.Add(1) == 1 && !tc.long {
							<-except
							_ = p.Reply(f.SeqID, nil)
						}
					}
				}}
				s := d.set(t, Config{Unshared: kept.keep})
				want := int32(1)
				connect(t, s) // a stock peer
				if err := s.WarmUp(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tc.pause)
				if !tc.long {
					notify(t, s, false).End()
					c := mustBegin(t, s)
					time.Sleep(tc.pause)
					close(except)
					time.Sleep(time.Second)
					fill(c, nil)
					if err := c.SendOneway(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(tc.pause)
					c.End()
					want = 2
				} else {
					c := notify(t, s, true)
					time.Sleep(tc.pause)
					c.End()
				}
				synctest.Wait()
				if st := s.Stats(); kept.count() != 1 || read.Load() != want || st.Connections != 1 || st.Deaths != 0 || d.dials.Load() != 2 {
					t.Errorf("%d handed over, %d read, %d dials, %+v", kept.count(), read.Load(), d.dials.Load(), st)
				}
				kept.close()
			})
		})
	}
}

// TestAnsweredOnewayHandedOver: a oneway is no reason to end a connection on which the peer has
// answered a later call, or the oneway itself.
func TestAnsweredOnewayHandedOver(t *testing.T) {
	for name, except := range map[string]bool{"a later call": false, "the oneway": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kept keeper
				d := &pipeDialer{serve: func(nc net.Conn, dial int) {
					defer nc.Close()
					p := testpeer.NewServer(nc, false)
					for n := 0; ; n++ {
						f, err := p.ReceiveCall()
						if err != nil {
							return
						}
						if n > 0 || except || dial == 1 {
							_ = p.Reply(f.SeqID, f.Payload)
						}
					}
				}}
				s := d.set(t, Config{Unshared: kept.keep})
				connect(t, s) // a stock peer
				notify(t, s, false).End()
				if except {
					time.Sleep(time.Minute) // it is read
				} else {
					receive(t, s, nil).End()
				}
				synctest.Wait()
				if kept.count() != 2 || d.dials.Load() != 2 {
					t.Fatalf("%d handed over, %d dials, %+v", kept.count(), d.dials.Load(), s.Stats())
				}
				if err := exchange(kept.conns[1], []byte("again")); err != nil {
					t.Error(err)
				}
				kept.close()
			})
		})
	}
}

// TestHandOverBesideClose: Close waits while a connection is handed over, so that none is handed
// over after it has returned.
func TestHandOverBesideClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(false)
		let := make(chan struct{})
		s := NewSet(Config{Dial: d.dial, Unshared: func(c *conn.Conn) {
			<-let
			_ = c.Close()
		}})
		c := receive(t, s, nil)
		synctest.Wait() // the watcher has gone
		go c.End()
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			_ = s.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed beside Unshared")
		default:
		}
		close(let)
		<-closed
		d.wg.Wait()
	})
}

// TestHandOverFailFast has a call meet the limit while a connection is handed over: it fails only
// when the owner has that connection, and so may have got it for the call.
func TestHandOverFailFast(t *testing.T) {
	for name, gets := range map[string]bool{"gets it": true, "gets nothing": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kept keeper
				owned := make(chan struct{})
				d := newEchoDialer(false)
				s := NewSet(Config{Dial: d.dial, MaxUnshared: 1, Overload: FailFast, Unshared: func(c *conn.Conn) {
					<-owned
					kept.keep(c)
				}})
				go func() { _, _ = roundTrip(t.Context(), s, nil, 0) }()
				synctest.Wait()
				elsewhere, ended := make(chan struct{}), make(chan error, 1)
				go func() {
					_, err := s.BeginUnless(t.Context(), time.Time{}, elsewhere)
					ended <- err
				}()
				synctest.Wait()
				if len(ended) > 0 {
					t.Error("the call failed before the owner had the connection")
				}
				want := ErrOverloaded
				if gets {
					want = ErrElsewhere
					close(elsewhere) // of which the call may hear later than the set
				}
				close(owned)
				if err := <-ended; !errors.Is(err, want) {
					t.Errorf("got %v, want %v", err, want)
				}
				if n := s.Stats().Overloads; n > 0 && gets {
					t.Errorf("%d calls met the limit", n)
				}
				_ = s.Close()
				kept.close()
				d.wg.Wait()
			})
		})
	}
}
