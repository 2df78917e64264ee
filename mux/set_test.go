package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestNegotiation calls peers of each kind, over pipes: many calls share the connection of a peer
// that says hello, and each call to any other peer has a connection of its own.
func TestNegotiation(t *testing.T) {
	for _, marked := range []bool{true, false} {
		t.Run(fmt.Sprintf("marked=%v", marked), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &pipeDialer{serve: func(nc net.Conn, _ int) { testpeer.NewServer(nc, marked).Echo() }}
				s := d.set(t, Config{MaxConns: 2})
				if _, err := roundTrip(t.Context(), s, []byte("first"), 0); err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for i := range 50 {
					wg.Go(func() {
						want := fmt.Appendf(nil, "call %d", i)
						got, err := roundTrip(t.Context(), s, want, time.Minute)
						if err != nil || !bytes.Equal(got, want) {
							t.Errorf("got %q, %v, want %q", got, err, want)
						}
					})
				}
				wg.Wait()
				st := s.Stats()
				if marked && (st.Pooled > 0 || st.Connections > 2) || !marked && st.Shared > 0 {
					t.Errorf("got %+v", st)
				}
				if st.InFlight != 0 || st.Abandoned != 0 || st.LateReplies != 0 {
					t.Errorf("got %+v", st)
				}
			})
		})
	}
}

// TestSharedOutOfOrder has a peer answer many calls of one connection backwards.
func TestSharedOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 100
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			defer nc.Close()
			first, _ := p.ReceiveCall()
			_ = p.Reply(first.SeqID, first.Payload)
			var frames []testpeer.Received
			for range calls {
				f, err := p.ReceiveCall()
				if err != nil {
					t.Errorf("peer: %v", err)
					return
				}
				frames = append(frames, f)
			}
			for i := len(frames) - 1; i >= 0; i-- {
				_ = p.Reply(frames[i].SeqID, frames[i].Payload)
			}
			_, _ = p.ReceiveCall() // until the client closes
		}}
		for _, first := range []uint16{0, 1<<15 - 1, 1<<16 - 1} {
			s := NewSet(Config{Dial: d.dial, MaxConns: 1, firstGeneration: first})
			if _, err := roundTrip(t.Context(), s, nil, 0); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range calls {
				wg.Go(func() {
					want := bytes.Repeat([]byte{byte(i)}, i*500)
					got, err := roundTrip(t.Context(), s, want, 0)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("call %d: got %d bytes, %v", i, len(got), err)
					}
				})
			}
			wg.Wait()
			_ = s.Close()
		}
		d.wg.Wait()
	})
}

// TestCallTimeout lets calls run out of time, as leader and as followers, by deadline, by a
// context's deadline and by cancellation. Each ends at its time, and no caller gets a reply that
// comes late.
func TestCallTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			defer nc.Close()
			first, _ := p.ReceiveCall()
			_ = p.Reply(first.SeqID, nil)
			var frames []testpeer.Received
			for range 30 {
				f, err := p.ReceiveCall()
				if err != nil {
					return
				}
				frames = append(frames, f)
			}
			var replying sync.WaitGroup
			defer replying.Wait()
			replying.Go(func() {
				<-release
				for _, f := range frames {
					_ = p.Reply(f.SeqID, f.Payload)
				}
			})
			p.Echo()
		}}
		s := d.set(t, Config{MaxConns: 1})
		if _, err := roundTrip(t.Context(), s, nil, 0); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				d := time.Duration(i+1) * time.Second
				start := time.Now()
				var err, want error
				switch i % 3 {
				case 0:
					want = os.ErrDeadlineExceeded
					_, err = roundTrip(t.Context(), s, []byte("x"), d)
				case 1:
					want = context.DeadlineExceeded
					ctx, cancel := context.WithTimeout(t.Context(), d)
					defer cancel()
					_, err = roundTrip(ctx, s, []byte("x"), 0)
				case 2:
					want = context.Canceled
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(d, cancel)
					_, err = roundTrip(ctx, s, []byte("x"), 0)
				}
				var e *Error
				if !errors.Is(err, want) || !errors.As(err, &e) || e.NotSent() {
					t.Errorf("call %d: got %v, want %v, sent", i, err, want)
				}
				if took := time.Since(start); took != d {
					t.Errorf("call %d took %v, want %v", i, took, d)
				}
			})
		}
		wg.Wait()
		if st := s.Stats(); st.InFlight != 0 || st.Abandoned != 30 {
			t.Errorf("got %+v", st)
		}
		close(release)
		synctest.Wait()
		if got, err := roundTrip(t.Context(), s, []byte("after"), 0); err != nil || string(got) != "after" {
			t.Errorf("got %q, %v", got, err)
		}
		time.Sleep(time.Second) // upkeep has read what that caller left
		synctest.Wait()
		if st := s.Stats(); st.Abandoned != 0 || st.LateReplies != 30 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestPeerCloses has a peer close at the first request, as a peer does that does not know the
// protocol: the call fails at once, as sent.
func TestPeerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			_, _ = testpeer.NewServer(nc, false).Receive()
			nc.Close()
		}}
		s := NewSet(Config{Dial: d.dial})
		for range 3 {
			time.Sleep(2 * defaultBackoffMax)
			_, err := roundTrip(t.Context(), s, []byte("x"), 0)
			var e *Error
			if !errors.Is(err, io.EOF) || !errors.As(err, &e) || e.NotSent() || e.Op != "receive" {
				t.Errorf("got %v", err)
			}
		}
		_ = s.Close()
		d.wg.Wait()
		if got := d.dials.Load(); got != 3 {
			t.Errorf("got %d dials, want 3", got)
		}
	})
}

// TestDialFails checks that calls fail with the dial's error, as not sent, at once and without a
// dial in the pause, which doubles; that after it one call dials, and others do not wait for it;
// and that calls work again once the server is back.
func TestDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		broken := true
		good := &pipeDialer{serve: func(nc net.Conn, _ int) { testpeer.NewServer(nc, true).Echo() }}
		dials := 0
		const dialTime = time.Millisecond
		s := NewSet(Config{BackoffMin: time.Second, BackoffMax: 4 * time.Second, Dial: func(ctx context.Context) (*conn.Conn, error) {
			dials++
			if broken {
				time.Sleep(dialTime)
				return nil, refused
			}
			return good.dial(ctx)
		}})
		fails := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			_, err := roundTrip(t.Context(), s, nil, 0)
			var e *Error
			if took := time.Since(began); !errors.Is(err, refused) || !errors.As(err, &e) || !e.NotSent() || took != want {
				t.Errorf("got %v after %v, want it after %v", err, took, want)
			}
		}
		for i, pause := range []time.Duration{1, 2, 4, 4} {
			var group sync.WaitGroup
			group.Go(func() { fails(dialTime) })
			synctest.Wait() // it dials
			if i > 0 {
				fails(0)
			}
			group.Wait()
			time.Sleep(pause * time.Second / 2)
			fails(0)
			if dials != i+1 {
				t.Errorf("%d dials in pause %d", dials, i)
			}
			time.Sleep(pause * time.Second)
		}
		broken = false
		time.Sleep(10 * time.Second)
		wantAnswer(t, s, nil, 0)
		_ = s.Close()
		good.wg.Wait()
	})
}

// TestDeadBeforeListed has connections die before the set has listed them, and be drained after
// they died: none of them takes a place for good.
func TestDeadBeforeListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		s := d.set(t, Config{MaxConns: 1})
		nc, err := d.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		unlisted := newClientConn(s, nc, 0)
		unlisted.fail(io.EOF)
		s.mu.Lock()
		s.addLocked(unlisted)
		s.mu.Unlock()
		time.Sleep(2 * defaultBackoffMax)
		connect(t, s)
		for cc := range s.members.conns {
			cc.mu.Lock()
			cc.life.cause = io.EOF // as fail leaves it before forget
			cc.mu.Unlock()
			s.drain(cc)
			cc.out.Close(io.EOF)
			_ = cc.conn.Close()
			s.forget(cc, io.EOF)
		}
		if s.members.active != 0 {
			t.Errorf("%d connections counted, none is there", s.members.active)
		}
		connect(t, s)
	})
}
