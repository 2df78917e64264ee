package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// darkConn is an end of a connection whose path goes dead when dark is closed: writes succeed, as
// into a kernel's buffer, and nothing arrives.
type darkConn struct {
	net.Conn
	dark chan struct{}
}

func (c *darkConn) isDark() bool {
	select {
	case <-c.dark:
		return true
	default:
		return false
	}
}

func (c *darkConn) Write(p []byte) (int, error) {
	if c.isDark() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// darkNet dials peers that echo, whose connections go dark together. Connections dialed later
// work.
type darkNet struct {
	peer *pipeDialer
	dark chan struct{}
	dead atomic.Bool // no dial succeeds
}

func newDarkNet(serve func(net.Conn, int)) *darkNet {
	return &darkNet{peer: &pipeDialer{serve: serve}, dark: make(chan struct{})}
}

func (n *darkNet) dial(context.Context) (*conn.Conn, error) {
	if n.dead.Load() {
		return nil, errDial
	}
	near, far := net.Pipe()
	count := int(n.peer.dials.Add(1))
	dark := n.dark
	n.peer.wg.Go(func() { n.peer.serve(&darkConn{far, dark}, count) })
	return conn.New(&darkConn{near, dark}, conn.Config{}, nil)
}

// goDark makes the current connections go dead, in both directions.
func (n *darkNet) goDark() {
	dark := n.dark
	n.dark = make(chan struct{})
	close(dark)
}

// TestDeadPath has all connections go dead without a word under load, while new ones work: each
// caller loses about one call, and has its next one answered; the dead connections end about a
// second later.
func TestDeadPath(t *testing.T) {
	for _, conns := range []int{1, 2, 4} {
		for _, timeout := range []time.Duration{20 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				const callers = 12
				n := newDarkNet(func(nc net.Conn, _ int) { testpeer.NewServer(nc, true).Echo() })
				s := NewSet(Config{Dial: n.dial, MaxConns: conns})
				connect(t, s)
				var failed, works atomic.Int32
				var died time.Time
				stop := make(chan struct{})
				var calling sync.WaitGroup
				for range callers {
					calling.Go(func() {
						for back := false; ; time.Sleep(max(time.Millisecond, timeout/300)) {
							select {
							case <-stop:
								return
							default:
							}
							_, err := roundTrip(t.Context(), s, make([]byte, 100), timeout)
							switch {
							case err != nil:
								failed.Add(1)
								back = false
								if !errors.Is(err, os.ErrDeadlineExceeded) {
									t.Errorf("got %v", err)
								}
							case !back && failed.Load() > 0:
								back = true
								works.Add(1)
								if took := time.Since(died); took > max(2*time.Second, 2*timeout) {
									t.Errorf("%d connections, timeout %v: calls succeed again after %v", conns, timeout, took)
								}
							}
						}
					})
				}
				time.Sleep(time.Second)
				if st := s.Stats(); failed.Load() != 0 || st.Suspicions != 0 {
					t.Errorf("%d calls failed, %+v, before anything happened", failed.Load(), st)
				}
				died = time.Now()
				n.goDark()
				time.Sleep(timeout + 2*pulse.SuspicionLimit)
				close(stop)
				calling.Wait()
				st := s.Stats()
				if n := failed.Load(); n == 0 || n > 2*callers {
					t.Errorf("%d connections, timeout %v: %d calls failed, want about %d", conns, timeout, n, callers)
				}
				if st.Deaths == 0 || st.Connections-st.Draining > conns || works.Load() < callers {
					t.Errorf("%d connections, timeout %v: %d callers have replies again, %+v", conns, timeout, works.Load(), st)
				}
				_ = s.Close()
				n.peer.wg.Wait()
			})
		}
	}
}

// TestSlowCallIsNoDeadPath has calls time out although their peer is there: it is asked once for
// each time that nothing has come, answers, and keeps its connection. No other connection is opened
// in its place.
func TestSlowCallIsNoDeadPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 100
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			defer nc.Close()
			for n := 0; ; n++ {
				f, err := p.ReceiveCall()
				if err != nil {
					return
				}
				if n == 0 || string(f.Payload) == "quick" {
					_ = p.Reply(f.SeqID, nil)
				}
			}
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		for range calls {
			if _, err := roundTrip(t.Context(), s, []byte("slow"), time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
			if _, err := roundTrip(t.Context(), s, []byte("quick"), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if st := s.Stats(); st.Suspicions != calls || st.Dials != 1 || st.Deaths != 0 || st.Abandoned != calls {
			t.Errorf("got %+v", st)
		}
	})
}

// TestDeadPathNowhereToGo has the only path go dead while nothing can be dialed: calls go on using
// it while it is doubted, and are answered if it comes back in time.
func TestDeadPathNowhereToGo(t *testing.T) {
	for _, comesBack := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			stalled := make(chan struct{})
			n := newDarkNet(func(nc net.Conn, n int) {
				p := testpeer.NewServer(nc, true)
				first, _ := p.Receive()
				_ = p.Reply(first.SeqID, nil)
				<-stalled
				p.Echo()
			})
			s := NewSet(Config{Dial: n.dial, MaxConns: 1})
			connect(t, s)
			n.dead.Store(true)
			if _, err := roundTrip(t.Context(), s, nil, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
			time.AfterFunc(pulse.SuspicionLimit/2, func() {
				if comesBack {
					close(stalled)
				}
			})
			_, err := roundTrip(t.Context(), s, nil, time.Minute)
			if comesBack && err != nil || !comesBack && !errors.Is(err, ErrSilent) {
				t.Errorf("comes back %v: got %v", comesBack, err)
			}
			if !comesBack {
				close(stalled)
			}
			synctest.Wait()
			if st := s.Stats(); st.Suspicions != 1 || st.Dials < 2 || st.Deaths > 0 != !comesBack {
				t.Errorf("comes back %v: got %+v", comesBack, st)
			}
			_ = s.Close()
			n.peer.wg.Wait()
		})
	}
}

// TestTrickleIsSignOfLife has a call time out beside a reply that comes in single bytes: the
// connection is kept.
func TestTrickleIsSignOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewServer(nc, true)
			first, _ := p.Receive()
			_ = p.Reply(first.SeqID, nil)
			second, err := p.Receive()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, p.In) }() // it answers no ping
			_ = writeSlowly(nc, testpeer.RequestFrame(second.SeqID, make([]byte, 100)), 1, 50*time.Millisecond)
			_, _ = nc.Read(nil)
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		var long sync.WaitGroup
		long.Go(func() {
			if got, err := roundTrip(t.Context(), s, nil, 0); err != nil || len(got) != 100 {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
		time.Sleep(time.Millisecond)
		for range 5 {
			if _, err := roundTrip(t.Context(), s, nil, 40*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		long.Wait()
		if st := s.Stats(); st.Deaths != 0 || st.Suspicions == 0 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestCancelledCallIsNoTimeout has callers leave before their time: that says nothing about the
// path.
func TestCancelledCallIsNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeafDialer()
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			if _, err := roundTrip(ctx, s, nil, time.Minute); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
		if st := s.Stats(); st.Suspicions != 0 || st.Connections != 1 {
			t.Errorf("got %+v", st)
		}
	})
}

// deepConn is the near end of a connection whose kernel takes whatever is written at once, and
// whose path carries 64 KiB of it each 100 ms.
type deepConn struct {
	net.Conn
	taken chan []byte
}

func newDeepConn(nc net.Conn, carries *sync.WaitGroup) *deepConn {
	c := &deepConn{nc, make(chan []byte, 1000)}
	carries.Go(func() {
		for p := range c.taken {
			for ; len(p) > 0; p = p[min(len(p), 64<<10):] {
				time.Sleep(time.Duration(min(len(p), 64<<10)) * 100 * time.Millisecond / (64 << 10))
				_, _ = nc.Write(p[:min(len(p), 64<<10)]) // fails when the test is over
			}
		}
	})
	return c
}

// Write implements net.Conn.
func (c *deepConn) Write(p []byte) (int, error) {
	c.taken <- append([]byte(nil), p...)
	return len(p), nil
}

// TestSlowPath has a call time out behind large requests that the kernel has taken at once and the
// path carries slowly: the ping is behind them as well, and all of them arrive.
func TestSlowPath(t *testing.T) {
	t.Run("calls", func(t *testing.T) {
		testSlowPath(t, func(t *testing.T, s *Set) (wait func()) {
			var large sync.WaitGroup
			large.Go(func() {
				if _, err := roundTrip(t.Context(), s, make([]byte, 4<<20), time.Minute); err != nil {
					t.Errorf("the large call: %v", err)
				}
			})
			return large.Wait
		})
	})
	t.Run("oneways", func(t *testing.T) {
		testSlowPath(t, func(t *testing.T, s *Set) (wait func()) {
			const oneways, bytes = 20, 200 << 10
			for range oneways {
				sendLongOneway(t, s, bytes)
			}
			return func() { time.Sleep(2 * oneways * bytes * 100 * time.Millisecond / (64 << 10)) }
		})
	})
}

func testSlowPath(t *testing.T, send func(*testing.T, *Set) (wait func())) {
	synctest.Test(t, func(t *testing.T) {
		peer := &pipeDialer{serve: func(nc net.Conn, _ int) { testpeer.NewServer(nc, true).Echo() }}
		var link *deepConn
		s := NewSet(Config{MaxConns: 1, Dial: func(context.Context) (*conn.Conn, error) {
			near, far := net.Pipe()
			peer.wg.Go(func() { peer.serve(far, 0) })
			link = newDeepConn(near, &peer.wg)
			return conn.New(link, conn.Config{}, nil)
		}})
		connect(t, s)
		wait := send(t, s)
		synctest.Wait()
		if _, err := roundTrip(t.Context(), s, nil, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		wait()
		if st := s.Stats(); st.Suspicions != 1 || st.Deaths != 0 {
			t.Errorf("got %+v", st)
		}
		_ = s.Close()
		close(link.taken)
		peer.wg.Wait()
	})
}

// sendLongOneway sends a oneway of that many bytes.
func sendLongOneway(t *testing.T, s *Set, bytes int) {
	t.Helper()
	c := mustBegin(t, s)
	defer c.End()
	fill(c, append([]byte("oneway"), make([]byte, bytes)...))
	if err := c.SendOneway(); err != nil {
		t.Fatal(err)
	}
}

// TestOnewaysAhead: oneways may be ahead of a ping until the peer has answered what was sent after
// them. An answer to anything else shows nothing.
func TestOnewaysAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bytes = 300 << 10
		free := make(chan struct{})
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			var replying sync.WaitGroup
			defer replying.Wait()
			defer nc.Close()
			for {
				f, err := p.Receive()
				switch {
				case err != nil:
					return
				case f.Signal == frame.SignalPing:
					replying.Go(func() { _ = p.Control(frame.SignalPong) })
				case string(f.Payload) == "slow":
					replying.Go(func() { <-free; _ = p.Reply(f.SeqID, nil) })
				case f.SeqID != 0 && !strings.HasPrefix(string(f.Payload), "oneway"):
					replying.Go(func() { _ = p.Reply(f.SeqID, nil) })
				}
			}
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		cc := (*s.list.Load())[0]
		check := func(step string, want int64) {
			t.Helper()
			synctest.Wait()
			if got := cc.outstanding(); got < want || got > want+want/8 || got > mostOnTheWay {
				t.Errorf("%s: %d bytes may be ahead, want %d or few more", step, got, want)
			}
		}
		check("a call was answered", 0)
		var slow sync.WaitGroup
		slow.Go(func() {
			wantAnswer(t, s, []byte("slow"), 0)
		})
		synctest.Wait()
		sendLongOneway(t, s, bytes)
		sendLongOneway(t, s, bytes)
		close(free)
		slow.Wait()
		check("a call was answered that was ahead of them", 2*bytes)
		connect(t, s)
		check("one was answered that was behind them", 0)
		sendLongOneway(t, s, bytes)
		_, _ = cc.sendControl(frame.SignalPing)
		cc.watchNow() // no call reads the pong
		check("a pong came, which a peer that reads nothing sends too", bytes)
		for range mostOnTheWay / bytes {
			sendLongOneway(t, s, bytes)
		}
		sendLongOneway(t, s, bytes)
		check("more were sent than can be on their way", mostOnTheWay)
	})
}
