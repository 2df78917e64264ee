package mux

import (
	"bytes"
	"context"
	"encoding/binary"
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

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// connect makes the first call of a set, so that it has a connection whose peer is known.
func connect(t testing.TB, s *Set) {
	t.Helper()
	if _, err := roundTrip(t.Context(), s, nil, 0); err != nil {
		t.Fatal(err)
	}
}

// TestResetInFlight resets a connection with a thousand calls in flight: all of them end,
// each with a typed error, as sent.
func TestResetInFlight(t *testing.T) {
	const calls = 1000
	var got atomic.Int32
	all := make(chan struct{})
	s := newTestSet(t, Config{MaxConns: 1, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		defer nc.Close()
		p := testpeer.NewServer(nc, true)
		first, err := p.ReceiveCall()
		if err != nil || p.Reply(first.SeqID, nil) != nil {
			return
		}
		for {
			if _, err := p.ReceiveCall(); err != nil {
				return
			}
			if got.Add(1) == calls {
				_ = nc.(*net.TCPConn).SetLinger(0)
				nc.Close()
				close(all)
				return
			}
		}
	})})
	connect(t, s)
	errs := make(chan error, calls)
	for range calls {
		go func() {
			_, err := roundTrip(context.Background(), s, make([]byte, 100), 0)
			errs <- err
		}()
	}
	<-all
	for range calls {
		var e *Error
		if err := <-errs; !errors.As(err, &e) || e.NotSent() || e.Timeout() {
			t.Errorf("got %v", err)
		}
	}
	if st := s.Stats(); st.InFlight != 0 || st.Connections != 0 || st.Deaths != 1 {
		t.Errorf("got %+v", st)
	}
}

// TestEndInFlight has a peer go with a thousand calls in flight: each ends without waiting for
// anything else.
func TestEndInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 1000
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewConnected(nc)
			for range calls {
				_, _ = p.ReceiveCall()
			}
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		began := time.Now()
		var callers sync.WaitGroup
		for range calls {
			callers.Go(func() {
				var e *Error
				if _, err := roundTrip(t.Context(), s, make([]byte, 100), time.Hour); !errors.As(err, &e) || e.NotSent() || e.Timeout() {
					t.Errorf("got %v", err)
				}
			})
		}
		callers.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("the last call failed after %v", took)
		}
	})
}

// TestStuckPeer has a peer that never reads. Calls whose requests wait on its connection get the
// write deadline's error within the write timeout, which says that nothing was sent. What waits
// stays within the bounds. The other calls wait for a place, on that connection or the next, for no
// longer than their own time.
func TestStuckPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			testpeer.NewConnected(nc)
			// The pipe has no room, so the request after next is stuck.
		}}
		const most, each, callers = 100_000, 10_000, 100
		const writeTimeout, callTimeout = 5 * time.Second, 7 * time.Second
		s := d.set(t, Config{MaxConns: 1, MaxPendingBytes: most, WriteTimeout: writeTimeout})
		connect(t, s)
		var wg sync.WaitGroup
		var queued, waited, done atomic.Int32
		start := time.Now()
		for range callers {
			wg.Go(func() {
				_, err := roundTrip(t.Context(), s, make([]byte, each), callTimeout)
				var e *Error
				switch took := time.Since(start); {
				case err == nil:
					done.Add(1) // the first call on the next connection
				case !errors.As(err, &e) || !e.Timeout():
					t.Errorf("got %v", err)
				case took == writeTimeout && e.NotSent():
					queued.Add(1)
				case took == callTimeout:
					waited.Add(1)
				default:
					t.Errorf("%v after %v", err, took)
				}
			})
			// Callers that look at the same moment may each exceed the limit by a frame.
			synctest.Wait()
		}
		if n := s.Stats().PendingBytes; n > most+each+100 {
			t.Errorf("%d bytes pending, limit %d", n, most)
		}
		wg.Wait()
		// bufio on the peer's side does not read: the pipe took nothing at all.
		if least := int32(most / each); queued.Load() < least || waited.Load() == 0 || done.Load() > 1 {
			t.Errorf("%d failed with the connection, want at least %d; %d waited, %d were answered",
				queued.Load(), least, waited.Load(), done.Load())
		}
	})
}

// TestFailFast checks the limits with the FailFast policy.
func TestFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewConnected(nc)
			for {
				if _, err := p.ReceiveCall(); err != nil {
					return
				}
			}
		}}
		s := d.set(t, Config{MaxConns: 2, MaxInFlight: 3, Overload: FailFast})
		connect(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 6 + 1 { // the second connection's peer answers the first call there
			wg.Go(func() { _, _ = roundTrip(ctx, s, nil, 0) })
			time.Sleep(maxGrace) // the trial of the second connection
			synctest.Wait()
		}
		_, err := roundTrip(t.Context(), s, nil, time.Second)
		var e *Error
		if !errors.Is(err, ErrOverloaded) || !errors.As(err, &e) || !e.NotSent() {
			t.Errorf("got %v, want ErrOverloaded", err)
		}
		if st := s.Stats(); st.Overloads != 1 || st.Connections != 2 || st.InFlight != 6 {
			t.Errorf("got %+v", st)
		}
		cancel()
		wg.Wait()
	})
}

// TestWaitForRoom checks that calls beyond the limits wait, are served in order, and
// leave when their time is over.
func TestWaitForRoom(t *testing.T) {
	for _, marked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			most, now := 0, 0
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				p := testpeer.NewServer(nc, marked)
				defer nc.Close()
				var wg sync.WaitGroup
				defer wg.Wait()
				for {
					f, err := p.ReceiveCall()
					if err != nil {
						return
					}
					mu.Lock()
					now++
					most = max(most, now)
					mu.Unlock()
					wg.Go(func() {
						time.Sleep(time.Second)
						mu.Lock()
						now--
						mu.Unlock()
						_ = p.Reply(f.SeqID, nil)
					})
				}
			}}
			s := d.set(t, Config{MaxConns: 1, MaxInFlight: 4, MaxUnshared: 4})
			connect(t, s)
			var wg sync.WaitGroup
			var done, late atomic.Int32
			for i := range 20 {
				wg.Go(func() {
					timeout := time.Hour
					if i%5 == 4 {
						timeout = 100 * time.Millisecond
					}
					switch _, err := roundTrip(t.Context(), s, nil, timeout); {
					case err == nil:
						done.Add(1)
					case errors.Is(err, os.ErrDeadlineExceeded):
						late.Add(1)
					default:
						t.Errorf("got %v", err)
					}
				})
			}
			wg.Wait()
			if done.Load() < 16 || done.Load()+late.Load() != 20 || late.Load() == 0 {
				t.Errorf("marked %v: %d done, %d out of time", marked, done.Load(), late.Load())
			}
			if most > 4+4 { // a call that gave up frees its own place, not the peer's
				t.Errorf("marked %v: %d at a time", marked, most)
			}
			if st := s.Stats(); st.Waiting != 0 || st.InFlight != 0 {
				t.Errorf("got %+v", st)
			}
		})
	}
}

// TestPartialFrames cuts replies at every byte, and has the leader leave at each of them: the next
// one finds what its predecessor has read.
func TestPartialFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payload := []byte("a reply in pieces")
		step := make(chan struct{})
		cut := 0
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewConnected(nc)
			for {
				if _, err := p.ReceiveCall(); err != nil { // given up by its caller
					return
				}
				second, err := p.ReceiveCall()
				if err != nil {
					return
				}
				frame := testpeer.RequestFrame(second.SeqID, payload)
				_, _ = nc.Write(frame[:cut])
				<-step
				_, _ = nc.Write(frame[cut:])
			}
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		for cut = range frame.PrefixBytes + 4 + len(payload) {
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := roundTrip(ctx, s, nil, 0); !errors.Is(err, context.Canceled) {
					t.Errorf("the leader got %v", err)
				}
			})
			synctest.Wait()
			wg.Go(func() {
				if got, err := roundTrip(t.Context(), s, nil, 0); err != nil || !bytes.Equal(got, payload) {
					t.Errorf("cut at %d: got %q, %v", cut, got, err)
				}
			})
			synctest.Wait()
			cancel()
			synctest.Wait()
			step <- struct{}{}
			wg.Wait()
		}
	})
}

// TestLargeReplies sends and receives frames of all sizes around the bounds at which their handling
// changes, many at a time, with small ones between.
func TestLargeReplies(t *testing.T) {
	s := newTestSet(t, Config{MaxConns: 2, Dial: loopback(t, testGroup(t), func(nc net.Conn) { testpeer.NewServer(nc, true).Echo() })})
	connect(t, s)
	var wg sync.WaitGroup
	for i, n := range []int{0, 1, frame.CopyBytes - 18, frame.CopyBytes - 17, frame.CopyBytes, 64 << 10, 64<<10 + 1,
		partBytes, partBytes + 1, 1 << 20, 1<<20 + 7, 5 << 20} {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(n)))
			payload := make([]byte, n)
			for j := range payload {
				payload[j] = byte(rnd.Uint32())
			}
			for range 3 {
				got, err := roundTrip(t.Context(), s, payload, 0)
				if err != nil || !bytes.Equal(got, payload) {
					t.Errorf("%d bytes: got %d, %v", n, len(got), err)
				}
				wantAnswer(t, s, payload[:min(n, i)], 0)
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.InFlight != 0 || st.PendingBytes != 0 {
		t.Errorf("got %+v", st)
	}
}

// TestOversizeReply checks that a reply that is too long ends its connection when its length is
// read.
func TestOversizeReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			defer nc.Close()
			f, _ := p.ReceiveCall()
			start := testpeer.RequestFrame(f.SeqID, nil)
			binary.BigEndian.PutUint32(start, 1001-frame.LengthBytes)
			_, _ = nc.Write(start)
			_, _ = io.Copy(io.Discard, nc)
		}}
		s := d.set(t, Config{MaxFrameBytes: 1000})
		_, err := roundTrip(t.Context(), s, nil, 0)
		var bad *FrameError
		if !errors.As(err, &bad) || bad.Bytes != 1001 {
			t.Errorf("got %v", err)
		}
		if _, err := roundTrip(t.Context(), s, make([]byte, 1000), 0); !errors.As(err, &bad) {
			t.Errorf("an oversize request: got %v", err)
		}
	})
}

// TestWrongRequest checks that a frame that would break the stream is refused, and that the
// connection goes on.
func TestWrongRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) { testpeer.NewServer(nc, true).Echo() }}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		for name, encode := range map[string]func(id uint32) []byte{
			"empty": func(uint32) []byte { return nil },
			"short": func(id uint32) []byte { return testpeer.RequestFrame(id, nil)[:frame.PrefixBytes] },
			"two": func(id uint32) []byte {
				return append(testpeer.RequestFrame(id, nil), testpeer.RequestFrame(id, nil)...)
			},
			"wrong ID": func(id uint32) []byte { return testpeer.RequestFrame(id+1, nil) },
		} {
			c := mustBegin(t, s)
			_, _ = c.Request().WriteBinary(encode(c.SeqID()))
			var bad *FrameError
			if err := c.Send(); !errors.As(err, &bad) {
				t.Errorf("%s: got %v", name, err)
			}
			if _, err := c.Receive(); !errors.As(err, &bad) {
				t.Errorf("%s: Receive without a request: got %v", name, err)
			}
			c.End()
		}
		connect(t, s)
		if st := s.Stats(); st.InFlight != 0 || st.Dials != 1 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestOneway sends oneway calls: they keep no sequence ID, need no reply, and are not taken back by
// End. They also teach nothing about the peer.
func TestOneway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got atomic.Int32
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			defer nc.Close()
			for {
				f, err := p.ReceiveCall()
				if err != nil {
					return
				}
				got.Add(1)
				if !bytes.HasPrefix(f.Payload, []byte("oneway")) {
					_ = p.Reply(f.SeqID, f.Payload)
				}
			}
		}}
		s := d.set(t, Config{MaxConns: 1})
		for i := range 100 {
			c := mustBegin(t, s)
			payload := []byte("oneway call")
			fill(c, payload)
			if err := c.SendOneway(); err != nil {
				t.Fatal(err)
			}
			clear(payload)
			if _, err := c.Receive(); err == nil {
				t.Error("a oneway call received something")
			}
			c.End()
			synctest.Wait()
			if i == 0 && s.Stats().Shared != 1 {
				t.Error("the peer is not known after a oneway call")
			}
			if i == 50 {
				connect(t, s)
			}
		}
		if st := s.Stats(); st.InFlight != 0 || st.Abandoned != 0 || st.Connections != 1 || got.Load() != 101 {
			t.Errorf("%d requests, %+v", got.Load(), st)
		}
	})
}

// TestUnsharedTimeout checks that a connection is neither used again nor handed over while its
// reply is missing.
func TestUnsharedTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, n int) {
			p := testpeer.NewServer(nc, false)
			defer nc.Close()
			if n == 2 {
				_, _ = io.Copy(io.Discard, nc)
				return
			}
			p.Echo()
		}}
		handedOver := 0
		s := NewSet(Config{Dial: d.dial, MaxUnshared: 1, Unshared: func(c *conn.Conn) {
			handedOver++
			_ = c.Close()
		}})
		connect(t, s)
		if _, err := roundTrip(t.Context(), s, nil, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		connect(t, s)
		synctest.Wait()
		if st := s.Stats(); st.Dials != 3 || st.Connections != 0 || st.Deaths != 0 || handedOver != 2 {
			t.Errorf("got %+v, %d handed over", st, handedOver)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}
