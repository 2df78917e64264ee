package mux

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// These tests have a peer speak on a connection that no caller reads. The poller's worker or the
// watcher notices what it says, while no call uses the connection and while oneways go out on it
// all the time.

// eachUnread runs f for each way in which a connection may be read without a caller, side by side.
func eachUnread(t *testing.T, f func(t *testing.T, u unread)) {
	for _, polled := range []bool{true, false} {
		for _, busy := range []bool{false, true} {
			name := map[bool]string{true: "poller", false: "watcher"}[polled]
			if busy {
				name += ", oneways"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				u := unread{busy: busy}
				if polled {
					u.group = testGroup(t)
				}
				f(t, u)
			})
		}
	}
}

// unread is one such way.
type unread struct {
	group *conn.Group // nil: no poller
	busy  bool
}

// connect makes a set with one connection to serve, which is up when connect returns. If that is
// the way, oneways use it until the test is over.
func (u unread) connect(t *testing.T, cfg Config, serve func(p *testpeer.Server)) *Set {
	t.Helper()
	cfg.MaxConns = 1
	cfg.Dial = loopback(t, u.group, func(nc net.Conn) {
		defer nc.Close()
		serve(testpeer.NewServer(nc, true))
	})
	s := newTestSet(t, cfg)
	connect(t, s)
	if u.busy {
		sendOneways(t, s)
	}
	return s
}

// sendOneways sends a oneway each millisecond until the test is over. They may fail.
func sendOneways(t *testing.T, s *Set) {
	ctx, cancel := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			c, err := s.Begin(ctx, time.Time{})
			if err != nil {
				continue
			}
			fill(c, []byte("oneway"))
			_ = c.SendOneway()
			c.End()
		}
	})
	t.Cleanup(func() {
		cancel()
		sending.Wait()
	})
}

// onlyConn returns the connection of a set that has one.
func onlyConn(t *testing.T, s *Set) *clientConn {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for cc := range s.members.conns {
		return cc
	}
	t.Fatal("no connection")
	return nil
}

// TestUnreadHello has the first call be a oneway, whose caller does not read.
func TestUnreadHello(t *testing.T) {
	eachUnread(t, func(t *testing.T, u unread) {
		s := newTestSet(t, Config{MaxConns: 1, Dial: loopback(t, u.group, func(nc net.Conn) { testpeer.NewServer(nc, true).Echo() })})
		sendOneway(t, s)
		if u.busy {
			sendOneways(t, s)
		}
		testpeer.WaitFor(t, "the hello", func() bool { return s.Stats().Shared == 1 })
	})
}

// TestUnreadDrain has the peer drain, and then close.
func TestUnreadDrain(t *testing.T) {
	eachUnread(t, func(t *testing.T, u unread) {
		peers := make(chan *testpeer.Server, 10)
		s := u.connect(t, Config{}, func(p *testpeer.Server) {
			peers <- p
			p.Echo()
		})
		next := func() *testpeer.Server {
			for {
				select {
				case p := <-peers:
					return p
				default:
					// This may use a connection that has only just been told to drain.
					connect(t, s)
				}
			}
		}
		for i := range uint64(3) {
			if err := next().Control(frame.SignalDrain); err != nil {
				t.Fatal(err)
			}
			testpeer.WaitFor(t, "the drain", func() bool { return s.Stats().PeerDrains == i+1 })
		}
		_ = next().Conn.Close()
		testpeer.WaitFor(t, "the end", func() bool { return s.Stats().Deaths == 1 })
	})
}

// TestUnreadPongs has the peer answer pings, one after the other: the connection lives.
func TestUnreadPongs(t *testing.T) {
	eachUnread(t, func(t *testing.T, u unread) {
		var pings atomic.Int32
		s := u.connect(t, Config{Heartbeat: 800 * time.Millisecond}, func(p *testpeer.Server) { serveCounting(p, &pings, true) })
		testpeer.WaitFor(t, "pings", func() bool { return pings.Load() == 2 })
		if st := s.Stats(); st.Deaths != 0 {
			t.Errorf("ended although its peer answers: %+v", st)
		}
	})
}

// serveCounting is Echo for a peer that counts the pings, and answers only the first call. It
// answers the pings if well is set.
func serveCounting(p *testpeer.Server, pings *atomic.Int32, well bool) {
	for n := 0; ; n++ {
		f, err := p.Receive()
		switch {
		case err != nil:
			return
		case n == 0:
			_ = p.Reply(f.SeqID, nil)
		case f.Signal == frame.SignalPing:
			pings.Add(1)
			if well {
				_ = p.Control(frame.SignalPong)
			}
		}
	}
}

// TestUnreadSilence has the peer answer no ping: the connection ends.
func TestUnreadSilence(t *testing.T) {
	eachUnread(t, func(t *testing.T, u unread) {
		var pings atomic.Int32
		s := u.connect(t, Config{Heartbeat: 100 * time.Millisecond}, func(p *testpeer.Server) { serveCounting(p, &pings, false) })
		testpeer.WaitFor(t, "the end", func() bool { return s.Stats().Deaths > 0 })
		if pings.Load() == 0 {
			t.Error("it was not asked")
		}
	})
}

// TestUnreadSuspicion has a call run out of time while nothing comes: the connection is trusted
// again when the ping is answered, and ends if it is not.
func TestUnreadSuspicion(t *testing.T) {
	for _, well := range []bool{true, false} {
		eachUnread(t, func(t *testing.T, u unread) {
			var pings atomic.Int32
			s := u.connect(t, Config{}, func(p *testpeer.Server) { serveCounting(p, &pings, well) })
			cc := onlyConn(t, s)
			if _, err := roundTrip(t.Context(), s, []byte("slow"), 50*time.Millisecond); err == nil {
				t.Fatal("no error")
			}
			testpeer.WaitFor(t, "the ping", func() bool { return pings.Load() > 0 })
			testpeer.WaitFor(t, "a judgement", func() bool {
				return trust(cc.trust.Load()) == trusted || cc.deathCause() != nil
			})
			if died := cc.deathCause() != nil; died == well {
				t.Errorf("the peer answers: %v, the connection died: %v", well, died)
			}
		})
	}
}

// TestUnreadStall has a frame that no call waits for begin and not go on.
func TestUnreadStall(t *testing.T) {
	eachUnread(t, func(t *testing.T, u unread) {
		peers := make(chan *testpeer.Server, 10)
		s := u.connect(t, Config{ReadTimeout: 100 * time.Millisecond}, func(p *testpeer.Server) {
			peers <- p
			p.Echo()
		})
		cc := onlyConn(t, s)
		if _, err := (<-peers).Conn.Write(testpeer.RequestFrame(1, []byte("late"))[:10]); err != nil {
			t.Fatal(err)
		}
		testpeer.WaitFor(t, "the end", func() bool { return cc.deathCause() != nil })
		if err := cc.deathCause(); err != ErrStalled {
			t.Errorf("got %v", err)
		}
	})
}

// TestUnreadSkipped has replies that are too large come whole, alone and together with a drain: the
// caller that reads leaves with its error, and nothing that has come is left unread.
func TestUnreadSkipped(t *testing.T) {
	for _, size := range []int{2000, 100_000, 10 << 20} {
		eachUnread(t, func(t *testing.T, u unread) {
			s := u.connect(t, Config{MaxFrameBytes: 1024, ReadTimeout: -1}, func(p *testpeer.Server) { answerTooLarge(p, size) })
			cc := onlyConn(t, s)
			for _, end := range []bool{false, true} {
				payload := "alone"
				if end {
					payload = "drain"
				}
				if _, err := roundTrip(t.Context(), s, []byte(payload), time.Minute); err == nil {
					t.Fatal("no error")
				}
				testpeer.WaitFor(t, "the frame's end", func() bool { return !cc.arrived.partial.Load() })
			}
			testpeer.WaitFor(t, "the drain", func() bool { return s.Stats().PeerDrains == 1 })
		})
	}
}

// answerTooLarge answers calls with size bytes, and sends a drain right behind a reply if its call
// asks for that.
func answerTooLarge(p *testpeer.Server, size int) {
	for n := 0; ; n++ {
		f, err := p.ReceiveCall()
		switch {
		case err != nil:
			return
		case n == 0:
			_ = p.Reply(f.SeqID, nil)
		case string(f.Payload) != "oneway":
			large := testpeer.RequestFrame(f.SeqID, make([]byte, size))
			if string(f.Payload) == "drain" {
				large = append(large, testpeer.Control(frame.SignalDrain)...)
			}
			_, _ = p.Conn.Write(large)
		}
	}
}
