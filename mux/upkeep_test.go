package mux

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestHeartbeat lets a peer fall silent, idle or with calls in flight: it is found within two
// intervals. A peer that answers pings is never ended.
func TestHeartbeat(t *testing.T) {
	const interval = 10 * time.Second
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var silent atomic.Bool
			var pings atomic.Int32
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				p := testpeer.NewServer(nc, true)
				defer nc.Close()
				for {
					f, err := p.Receive()
					if err != nil {
						return
					}
					switch {
					case silent.Load():
					case f.Signal == frame.SignalPing:
						pings.Add(1)
						_ = p.Control(frame.SignalPong)
					default:
						_ = p.Reply(f.SeqID, nil)
					}
				}
			}}
			s := d.set(t, Config{MaxConns: 1, Heartbeat: interval})
			connect(t, s)
			time.Sleep(time.Hour)
			if st := s.Stats(); st.Connections != 1 || st.Deaths != 0 {
				t.Fatalf("after an idle hour: got %+v", st)
			}
			if n := pings.Load(); n < 300 || n > 600 {
				t.Errorf("got %d pings in an hour", n)
			}
			for range 20 {
				time.Sleep(time.Duration(rand.Int64N(int64(interval))))
				silent.Store(true)
				start := time.Now()
				if busy {
					if _, err := roundTrip(t.Context(), s, nil, 0); !errors.Is(err, ErrSilent) {
						t.Errorf("got %v", err)
					}
				} else {
					for s.Stats().Connections > 0 {
						time.Sleep(time.Second / 10)
					}
				}
				if took := time.Since(start); took > 2*interval {
					t.Errorf("busy %v: found after %v", busy, took)
				}
				silent.Store(false)
				connect(t, s)
			}
		})
	}
}

// TestPeerDrain has the peer drain a connection with calls in flight, and an idle one: the calls
// are answered, new ones take another connection, and this side closes its half as soon as nothing
// is in flight.
func TestPeerDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		closed := make(chan time.Time, 2)
		d := &pipeDialer{serve: func(nc net.Conn, n int) {
			p := testpeer.NewServer(nc, true)
			defer nc.Close()
			if n > 2 {
				p.Echo()
				return
			}
			first, _ := p.Receive()
			_ = p.Reply(first.SeqID, nil)
			if n == 1 {
				var frames []testpeer.Received
				for range 10 {
					f, _ := p.Receive()
					frames = append(frames, f)
				}
				_ = p.Control(frame.SignalDrain)
				<-release
				for _, f := range frames {
					_ = p.Reply(f.SeqID, f.Payload)
				}
			} else {
				time.Sleep(time.Minute)
				_ = p.Control(frame.SignalDrain)
			}
			if _, err := p.Receive(); !errors.Is(err, io.EOF) {
				t.Errorf("connection %d: got %v, want its end", n, err)
			}
			closed <- time.Now()
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				wantAnswer(t, s, nil, 0)
			})
		}
		synctest.Wait()
		if st := s.Stats(); st.Draining != 1 || st.InFlight != 10 || st.PeerDrains != 1 {
			t.Errorf("got %+v", st)
		}
		connect(t, s) // on a connection of its own
		if st := s.Stats(); st.Connections != 2 {
			t.Errorf("got %+v", st)
		}
		start := time.Now()
		close(release)
		wg.Wait()
		if took := (<-closed).Sub(start); took > 0 {
			t.Errorf("closed %v after the last reply", took)
		}
		time.Sleep(time.Minute - time.Millisecond)
		start = time.Now()
		if took := (<-closed).Sub(start); took > time.Second {
			t.Errorf("an idle connection was closed %v after the drain", took)
		}
		synctest.Wait() // the peer sees the end before the set has counted it
		connect(t, s)
		if st := s.Stats(); st.Connections != 1 || st.Deaths != 0 || st.Dials != 3 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestMaxAge replaces connections during hours of one call per second: no call fails, and no
// connection is much older than allowed.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age = time.Minute
		d := &pipeDialer{}
		d.serve = func(nc net.Conn, _ int) {
			start := time.Now()
			testpeer.NewServer(nc, true).Echo()
			if took := time.Since(start); took > age*5/4 {
				t.Errorf("a connection lived for %v", took)
			}
		}
		s := d.set(t, Config{MaxConns: 2, MaxAge: age})
		for range 3600 {
			connect(t, s)
			time.Sleep(time.Second)
		}
		if n := d.dials.Load(); n < 50 || n > 150 {
			t.Errorf("got %d dials in an hour", n)
		}
		if st := s.Stats(); st.Aged == 0 || st.Deaths != 0 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestIdleClose closes connections that have no calls, and no others.
func TestIdleClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		s := d.set(t, Config{IdleTimeout: time.Minute, MaxConns: 2})
		for range 10 {
			connect(t, s)
			time.Sleep(50 * time.Second)
		}
		if n := d.dials.Load(); n != 1 {
			t.Errorf("got %d dials of a connection in use", n)
		}
		time.Sleep(30 * time.Second)
		if st := s.Stats(); st.Connections != 0 || st.Deaths != 0 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestColdStart has many calls begin before the peer is known to multiplex, and go on without a
// pause: soon there are as many connections as there may be, and no call fails.
func TestColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, most = 30, 2
		d := &pipeDialer{serve: serveSlowly(200*time.Millisecond, 200*time.Millisecond, func(int32) {})}
		s := d.set(t, Config{MaxConns: most})
		end := time.Now().Add(5 * time.Second)
		var calling sync.WaitGroup
		for range callers {
			calling.Go(func() {
				for time.Now().Before(end) {
					wantAnswer(t, s, nil, 0)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		if st := s.Stats(); st.Connections != most || st.InFlight != callers {
			t.Errorf("got %+v, want all calls on %d connections", st, most)
		}
		time.Sleep(200*time.Millisecond + 2*watchPeriod) // the slowest first reply, and a look
		for range 20 {
			if st := s.Stats(); st.Connections-st.Draining > most || st.Connections-st.Draining == 0 {
				t.Errorf("got %+v, want %d connections", st, most)
			}
			time.Sleep(200 * time.Millisecond)
		}
		calling.Wait()
		if st := s.Stats(); st.Deaths != 0 || st.Connections != most || st.Dials != most {
			t.Errorf("got %+v", st)
		}
	})
}

// TestIdlePeerCloses has the peer close while nothing is in flight: the next call takes another
// connection. On sockets it does not wait for a look.
func TestIdlePeerCloses(t *testing.T) {
	closing := make(chan struct{})
	closed := make(chan struct{})
	s := newTestSet(t, Config{MaxConns: 1, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		p := testpeer.NewServer(nc, true)
		f, err := p.Receive()
		if err != nil {
			nc.Close()
			return
		}
		_ = p.Reply(f.SeqID, nil)
		<-closing
		nc.Close()
		closed <- struct{}{}
	})})
	for range 20 {
		connect(t, s)
		closing <- struct{}{}
		<-closed
	}
}

func TestWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) { testpeer.NewServer(nc, true).Echo() }}
		s := NewSet(Config{Dial: d.dial, MaxConns: 4})
		if err := s.WarmUp(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Connections != 3 || st.Probing != 3 {
			t.Errorf("got %+v", st)
		}
		connect(t, s)
		if err := s.WarmUp(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Connections != 4 {
			t.Errorf("got %+v", st)
		}
		_ = s.Close()
		if err := s.WarmUp(t.Context(), 1); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: got %v", err)
		}
		d.wg.Wait()

		refused := errors.New("refused")
		s = NewSet(Config{Dial: func(context.Context) (*conn.Conn, error) { return nil, refused }})
		if err := s.WarmUp(t.Context(), 3); !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
		_ = s.Close()
		s = NewSet(Config{Dial: func(ctx context.Context) (*conn.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.WarmUp(ctx, 3); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		_ = s.Close()
	})
}

// TestSetClose closes a set with calls in flight, calls that wait for a connection and
// a dial under way: all end.
func TestSetClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			f, _ := p.Receive()
			_ = p.Reply(f.SeqID, nil)
			_, _ = io.Copy(io.Discard, nc)
			nc.Close()
		}}
		first := true
		s := NewSet(Config{MaxConns: 2, MaxInFlight: 5, Dial: func(ctx context.Context) (*conn.Conn, error) {
			if first {
				first = false
				return d.dial(ctx)
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		connect(t, s)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := roundTrip(t.Context(), s, nil, 0); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		if st := s.Stats(); st.InFlight != 5 || st.Waiting != 5 || st.Dialing != 1 {
			t.Errorf("got %+v", st)
		}
		_ = s.Close()
		wg.Wait()
		if _, err := s.Begin(t.Context(), time.Time{}); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: got %v", err)
		}
		if st := s.Stats(); st.Connections != 0 || st.Waiting != 0 {
			t.Errorf("got %+v", st)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}

// TestLargeStaysAside has a large reply on its way on one connection: small calls take
// the other.
func TestLargeStaysAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			defer nc.Close()
			for {
				f, err := p.Receive()
				if err != nil {
					return
				}
				if string(f.Payload) != "large" {
					_ = p.Reply(f.SeqID, nil)
					continue
				}
				frame := testpeer.RequestFrame(f.SeqID, make([]byte, 15<<20))
				_, _ = nc.Write(frame[:1<<20])
				<-release
				_, _ = nc.Write(frame[1<<20:])
			}
		}}
		s := d.set(t, Config{MaxConns: 2})
		connect(t, s)
		var wg sync.WaitGroup
		large := func() {
			if got, err := roundTrip(t.Context(), s, []byte("large"), 0); err != nil || len(got) != 15<<20 {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		}
		wg.Go(large)
		synctest.Wait()
		for range 100 {
			if _, err := roundTrip(t.Context(), s, nil, time.Second); err != nil {
				t.Errorf("a small call waits for the large one: %v", err)
				break
			}
		}
		close(release)
		wg.Wait()
	})
}

// TestDump looks at the text that DumpText writes.
func TestDump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) { testpeer.NewServer(nc, true).Echo() }}
		s := d.set(t, Config{})
		connect(t, s)
		time.Sleep(time.Second)
		var text strings.Builder
		if err := s.DumpText(&text); err != nil {
			t.Fatal(err)
		}
		want := "peer shared: 1 connections, 0 handed over, 0 dialing, 0 calls waiting\n" +
			"  pipe → pipe: shared, 1s old, 0 in flight, 0 abandoned, 0 bytes to write, 0 to come, read by the watcher, 2 frames read\n"
		if text.String() != want {
			t.Errorf("got\n%swant\n%s", text.String(), want)
		}
	})
}
