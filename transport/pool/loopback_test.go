package pool

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// loopback is a real listener. The test holds its accepted connections.
type loopback struct {
	net.Listener
	accepted chan net.Conn
}

func newLoopback(t *testing.T) *loopback {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &loopback{Listener: ln, accepted: make(chan net.Conn, 100)}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			l.accepted <- c
		}
	})
	t.Cleanup(func() {
		ln.Close()
		accepting.Wait()
	})
	return l
}

// groupDialer dials Kiteline's connections in the test's group.
type groupDialer struct{ inner conn.Dialer }

func newGroupDialer(t testing.TB) *groupDialer {
	t.Helper()
	g, err := conn.NewGroup(conn.GroupConfig{SweepPeriod: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return &groupDialer{conn.Dialer{Group: g}}
}

func (d *groupDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	c, err := d.inner.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	return netpollconn.Of(c), nil
}

// loopbackPool is a pool over real connections to one listener.
type loopbackPool struct {
	*Pool
	t       *testing.T
	address string
	group   *conn.Group
	opt     remote.ConnOption
}

func newLoopbackPool(t *testing.T, l *loopback, cfg Config) *loopbackPool {
	d := newGroupDialer(t)
	opt := remote.ConnOption{Dialer: d, ConnectTimeout: time.Second}
	p := &loopbackPool{New("test", cfg), t, l.Addr().String(), d.inner.Group, opt}
	t.Cleanup(func() { p.Close() })
	return p
}

func (p *loopbackPool) get() net.Conn {
	p.t.Helper()
	c, err := p.Get(p.t.Context(), "tcp", p.address, p.opt)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// needPoller skips tests of what only a poller can see: the FIN on an unused connection.
func (p *loopbackPool) needPoller() {
	p.t.Helper()
	if errors.Is(p.group.Resize(1), errors.ErrUnsupported) {
		p.t.Skip("no poller here")
	}
}

func TestPoolClosesWhatDiesWhileIdle(t *testing.T) {
	t.Parallel()
	for name, exchange := range map[string]func(client, server net.Conn) error{
		"never used": func(_, _ net.Conn) error { return nil },
		"written": func(client, server net.Conn) error {
			if _, err := client.Write([]byte("ping")); err != nil {
				return err
			}
			_, err := server.Read(make([]byte, 4))
			return err
		},
		"read for longer than the sweep waits": func(client, server net.Conn) error {
			late := time.AfterFunc(30*time.Millisecond, func() { _, _ = server.Write([]byte("pong")) })
			defer late.Stop()
			_, err := client.Read(make([]byte, 4))
			return err
		},
		"read through the Reader": func(client, server net.Conn) error {
			if _, err := server.Write([]byte("pong")); err != nil {
				return err
			}
			r := checkoutOf(client).of.ours.Reader()
			if _, err := r.Next(4); err != nil {
				return err
			}
			return r.Release()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoopback(t)
			p := newLoopbackPool(t, l, Config{})
			p.needPoller()
			var clients, servers []net.Conn
			for range 8 {
				clients = append(clients, p.get())
				servers = append(servers, <-l.accepted)
			}
			for i, c := range clients {
				if err := exchange(c, servers[i]); err != nil {
					t.Fatal(err)
				}
				must(p.Put(c))
			}
			if s := checkCounts(t, p.Pool); s.Idle != 8 {
				t.Fatalf("got %+v", s.Counts)
			}
			for _, c := range servers {
				c.Close()
			}
			testkit.Eventually(t, "the pool is empty", func() bool { return p.Stats().Open == 0 })
			if s := checkCounts(t, p.Pool); s.ClosedDead != 8 {
				t.Fatalf("got %+v", s.Counts)
			}
			for _, c := range clients {
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Fatal("not closed")
				}
			}
		})
	}
}

// A connection whose peer's FIN comes while it is in use is not kept.
func TestPoolClosesWhatDiesInUse(t *testing.T) {
	l := newLoopback(t)
	p := newLoopbackPool(t, l, Config{})
	p.needPoller()
	c := p.get()
	(<-l.accepted).Close()
	dead := func() bool {
		pc := checkoutOf(c).of
		pc.peer.mu.Lock()
		defer pc.peer.mu.Unlock()
		return pc.dead
	}
	testkit.Eventually(t, "the pool knows", dead)
	must(p.Put(c))
	if s := checkCounts(t, p.Pool); s.Open != 0 || s.ClosedDead != 1 {
		t.Fatalf("got %+v", s.Counts)
	}
}

// A connection whose peer has closed it is put back and taken at once, so that no sweep can have
// looked at it.
func TestPoolNeverHandsOutStale(t *testing.T) {
	l := newLoopback(t)
	p := newLoopbackPool(t, l, Config{})
	for range 200 {
		c := p.get()
		server := <-l.accepted
		if _, err := server.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		must(p.Put(c))
		server.Close()
		// On loopback the FIN has arrived when Close has returned.
		next := p.get()
		if checkoutOf(next).RawConn() == checkoutOf(c).RawConn() {
			t.Fatal("a connection was handed out whose peer has closed")
		}
		(<-l.accepted).Close()
		must(p.Discard(next))
	}
	checkCounts(t, p.Pool)
}

// The same for a connection that the poller watches but may not have reported yet.
func TestPoolNeverHandsOutStaleWatched(t *testing.T) {
	t.Parallel()
	l := newLoopback(t)
	p := newLoopbackPool(t, l, Config{})
	for range 50 {
		c, server := p.get(), <-l.accepted
		must(p.Put(c))
		<-time.After(15 * time.Millisecond) // three ticks of the sweep: it is watched
		server.Close()
		next := p.get()
		if checkoutOf(next).RawConn() == checkoutOf(c).RawConn() {
			t.Fatal("a connection was handed out whose peer has closed")
		}
		(<-l.accepted).Close()
		must(p.Discard(next))
	}
}

func TestPoolDoesNotReuseWithUnreadBytes(t *testing.T) {
	l := newLoopback(t)
	p := newLoopbackPool(t, l, Config{})
	for name, leave := range map[string]func(client, server net.Conn) error{
		"in the socket": func(_, server net.Conn) error {
			_, err := server.Write([]byte("late reply"))
			return err
		},
		"in the buffer": func(client, server net.Conn) error {
			if _, err := server.Write([]byte("two replies")); err != nil {
				return err
			}
			_, err := checkoutOf(client).of.ours.Reader().Peek(1)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, server := p.get(), <-l.accepted
			defer server.Close()
			if err := leave(c, server); err != nil {
				t.Fatal(err)
			}
			must(p.Put(c))
			next := p.get()
			if checkoutOf(next).RawConn() == checkoutOf(c).RawConn() {
				t.Fatal("handed out with bytes that belong to nobody")
			}
			defer (<-l.accepted).Close()
			must(p.Discard(next))
			if !errors.Is(checkoutOf(c).of.ours.Err(), net.ErrClosed) {
				t.Fatal("not closed")
			}
		})
	}
}

// A dialer may return a bare conn.Conn.
func TestPoolWatchesBareConn(t *testing.T) {
	l := newLoopback(t)
	p := newLoopbackPool(t, l, Config{})
	p.needPoller()
	p.opt.Dialer = remote.SynthesizedDialer{
		DialFunc: func(network, address string, timeout time.Duration) (net.Conn, error) {
			d := conn.Dialer{Group: p.group}
			return d.DialTimeout(network, address, timeout)
		},
	}
	must(p.Put(p.get()))
	(<-l.accepted).Close()
	testkit.Eventually(t, "the pool is empty", func() bool { return p.Stats().Open == 0 })
}

// Real calls from many goroutines while the server closes connections at random.
func TestPoolUnderLoadWithAServerThatCloses(t *testing.T) {
	t.Parallel()
	l := newLoopback(t)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			select {
			case c := <-l.accepted:
				serving.Go(func() { echoSome(c) })
			case <-t.Context().Done():
				return
			}
		}
	})
	p := newLoopbackPool(t, l, Config{MaxConnsPerAddress: 6, MaxIdlePerAddress: 6})
	var callers sync.WaitGroup
	for range 12 {
		callers.Go(func() {
			msg, reply := []byte("0123456789"), make([]byte, 10)
			for range 500 {
				c, err := p.Get(t.Context(), "tcp", p.address, p.opt)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err = c.Write(msg); err == nil {
					_, err = c.Read(reply)
				}
				if err != nil { // the server closed it after Get's check
					must(p.Discard(c))
					continue
				}
				if !bytes.Equal(msg, reply) {
					t.Errorf("got %q", reply)
				}
				must(p.Put(c))
			}
		})
	}
	callers.Wait()
	s := checkCounts(t, p.Pool)
	if s.ClosedDead == 0 || s.Reuses == 0 {
		t.Fatalf("got %+v", s.Counts)
	}
	p.Close()
	testkit.Eventually(t, "everything is closed", func() bool { return p.Stats().Open == 0 })
	l.Close()
	t.Cleanup(serving.Wait)
}

// echoSome answers 50 messages and closes with the last answer.
func echoSome(c net.Conn) {
	defer c.Close()
	msg := make([]byte, 10)
	for range 50 {
		if _, err := c.Read(msg); err != nil {
			return
		}
		if _, err := c.Write(msg); err != nil {
			return
		}
	}
}
