package conn

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// stubbornListener is a listener whose Accept, Close, or both wait only for free.
type stubbornListener struct {
	*fakeListener
	acceptWaits, closeWaits bool
	free                    chan struct{}
}

func (l *stubbornListener) Accept() (net.Conn, error) {
	if !l.acceptWaits {
		return l.fakeListener.Accept()
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.free:
		return nil, net.ErrClosed
	}
}

func (l *stubbornListener) Close() error {
	if l.closeWaits {
		<-l.free
	}
	return l.fakeListener.Close()
}

// stopWays are the ways to end a server, each with the longest time that it may take if a listener
// or a callback does not do its part.
var stopWays = []struct {
	name string
	stop func(s *Server) error
	most time.Duration
}{
	{"Shutdown", func(s *Server) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return s.Shutdown(ctx)
	}, time.Minute + expiredPatience},
	{"Shutdown without time", func(s *Server) error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return s.Shutdown(ctx)
	}, expiredPatience},
	{"Close", (*Server).Close, closePatience},
}

// TestStopEnds: whatever a listener or a callback does, a server ends in time and Serve returns. A
// listener that is still in Accept then is reported, once.
func TestStopEnds(t *testing.T) {
	for _, way := range stopWays {
		for _, tc := range []struct {
			name                    string
			acceptWaits, closeWaits bool
			block                   string // the callback that does not return
			prompt                  bool   // nothing holds the stop up
		}{
			{name: "plain", prompt: true},
			{name: "Accept goes on", acceptWaits: true},
			{name: "Close goes on", closeWaits: true},
			{name: "both go on", acceptWaits: true, closeWaits: true},
			{name: "in OnPrepare", block: "OnPrepare"},
			{name: "in OnRequest", block: "OnRequest"},
			{name: "in a close callback", block: "close"},
			{name: "in the connection's RemoteAddr", block: "RemoteAddr"},
			{name: "in the connection's Close", block: "Close"},
		} {
			testkit.Bubble(t, way.name+"/"+tc.name, func(t *testing.T) {
				testStopEnds(t, way.stop, way.most, tc.acceptWaits, tc.closeWaits, tc.block, tc.prompt)
			})
		}
	}
}

func testStopEnds(t *testing.T, stop func(*Server) error, most time.Duration, acceptWaits, closeWaits bool, block string, prompt bool) {
	free := make(chan struct{})
	wait := func(where string) {
		if where == block {
			<-free
		}
	}
	var stuck atomic.Int32
	cfg := ServerConfig{Group: newFakeGroup(t, 4), Acceptors: 2, OnAcceptError: func(err error) {
		testkit.ErrorIs(t, err, ErrAcceptStuck, "OnAcceptError")
		stuck.Add(1)
	}}
	cfg.OnPrepare = func(c *Conn) context.Context {
		_ = c.AddCloseCallback(func(*Conn) { wait("close") })
		wait("OnPrepare")
		return nil
	}
	cfg.OnRequest = func(_ context.Context, c *Conn) error {
		wait("OnRequest")
		_, err := c.Reader().Next(c.Reader().Len())
		return err
	}
	s, err := NewServer(cfg)
	testkit.Must(t, err)
	ln := &stubbornListener{newFakeListener(), acceptWaits, closeWaits, free}
	other := newFakeListener() // it does not hold the stop up
	served := make(chan error, 2)
	go func() { served <- s.Serve(ln) }()
	go func() { served <- s.Serve(other) }()
	for _, conns := range []chan net.Conn{ln.conns, other.conns} {
		for range 2 {
			client, server := net.Pipe()
			defer client.Close()
			conns <- &stubbornConn{Conn: server, wait: wait}
			if block != "RemoteAddr" && block != "OnPrepare" {
				_, _ = client.Write([]byte("x"))
			}
		}
	}
	synctest.Wait()
	began := time.Now()
	_ = stop(s)
	if prompt {
		most = firstLook
	}
	if took := time.Since(began); took > most {
		t.Errorf("the stop took %v, want at most %v", took, most)
	}
	for range 2 {
		if err := <-served; err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	}
	if took := time.Since(began); took > most {
		t.Errorf("Serve returned after %v", took)
	}
	if client, server := net.Pipe(); acceptWaits {
		ln.conns <- server // too late
		if _, err := client.Read(make([]byte, 1)); err == nil {
			t.Error("a connection that was accepted after the end is open")
		}
	}
	_ = s.Close() // does not report it twice
	synctest.Wait()
	if want := map[bool]int32{true: 1}[acceptWaits || closeWaits]; stuck.Load() != want {
		t.Errorf("got %d reports of a listener that is left behind, want %d", stuck.Load(), want)
	}
	close(free)
	synctest.Wait()
	if n := s.ConnCount(); n != 0 {
		t.Errorf("got %d connections, want 0", n)
	}
}

// TestCloseEndsWithOwnGroup: a wrapper whose methods block does not hold up the Close of a server,
// even of one with a group of its own, which waits for its workers.
func TestCloseEndsWithOwnGroup(t *testing.T) {
	for _, block := range []string{"RemoteAddr", "Close"} {
		synctest.Test(t, func(t *testing.T) {
			free := make(chan struct{})
			s, err := NewServer(ServerConfig{Group: newFakeGroup(t, 4)})
			testkit.Must(t, err)
			s.ownGroup = true
			ln := newFakeListener()
			go func() { _ = s.Serve(ln) }()
			client, server := net.Pipe()
			defer client.Close()
			ln.conns <- &stubbornConn{Conn: server, wait: func(where string) {
				if where == block {
					<-free
				}
			}}
			synctest.Wait()
			closed := make(chan struct{})
			go func() { defer close(closed); _ = s.Close() }()
			select {
			case <-closed:
			case <-time.After(2 * closePatience):
				t.Errorf("Close waits for a wrapper's %s", block)
			}
			close(free)
			<-closed
		})
	}
}

// stubbornConn is a wrapper whose methods may wait.
type stubbornConn struct {
	net.Conn
	wait func(where string)
	once sync.Once
}

func (c *stubbornConn) RemoteAddr() net.Addr {
	c.wait("RemoteAddr")
	return c.Conn.RemoteAddr()
}

func (c *stubbornConn) Close() error {
	c.once.Do(func() { c.wait("Close") })
	return c.Conn.Close()
}

// TestWrappersArriveApart: a connection whose methods wait for the peer, as RemoteAddr does in a
// wrapper that reads a header, does not hold up others.
func TestWrappersArriveApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := ServerConfig{Group: newFakeGroup(t, 4)}
		cfg.OnRequest = func(_ context.Context, c *Conn) error {
			p, _ := c.Reader().Next(1)
			_, err := c.Write(p)
			return err
		}
		s, err := NewServer(cfg)
		testkit.Must(t, err)
		ln := newFakeListener()
		go func() { _ = s.Serve(ln) }()
		header := make(chan struct{})
		slow, slowServer := net.Pipe()
		ln.conns <- &stubbornConn{Conn: slowServer, wait: func(where string) {
			if where == "RemoteAddr" {
				<-header
			}
		}}
		quick, quickServer := net.Pipe()
		ln.conns <- &stubbornConn{Conn: quickServer, wait: func(string) {}}
		answers := func(c net.Conn) {
			t.Helper()
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, _ = c.Write([]byte("x"))
			if n, err := c.Read(make([]byte, 1)); n != 1 {
				t.Errorf("no answer: %v", err)
			}
		}
		answers(quick)
		if n := s.ConnCount(); n != 2 {
			t.Errorf("got %d connections, want 2", n)
		}
		close(header)
		answers(slow)
		slow.Close()
		quick.Close()
		testkit.Check(t, s.Shutdown(t.Context()))
	})
}

// TestServeReturnsFirstError: of the errors of several acceptors Serve returns the one that ended
// it, not those of the other acceptors when the listener is closed because of it.
func TestServeReturnsFirstError(t *testing.T) {
	const acceptors = 4
	for failing := range acceptors {
		synctest.Test(t, func(t *testing.T) {
			s, err := NewServer(ServerConfig{Group: newFakeGroup(t, 1), Acceptors: acceptors})
			testkit.Must(t, err)
			ln := &breakingListener{fakeListener: newFakeListener(), failing: int32(failing) + 1, broken: make(chan error)}
			served := make(chan error, 1)
			go func() { served <- s.Serve(ln) }()
			synctest.Wait()
			broken := errors.New("broken")
			ln.broken <- broken
			if err := <-served; !errors.Is(err, broken) {
				t.Errorf("acceptor %d fails: got %v, want %v", failing, err, broken)
			}
			_ = s.Close()
		})
	}
}

// breakingListener makes the Accept with the number failing fail.
type breakingListener struct {
	*fakeListener
	failing int32
	broken  chan error
}

func (l *breakingListener) Accept() (net.Conn, error) {
	broken := l.broken
	if l.calls.Add(1) != l.failing {
		broken = nil
	}
	select {
	case err := <-broken:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// TestGroupCloseEnds: the Close of a group ends the connections that are left in it, whatever they
// do.
func TestGroupCloseEnds(t *testing.T) {
	for _, lingering := range []int{0, 4} {
		synctest.Test(t, func(t *testing.T) {
			g := newFakeGroup(t, lingering)
			r := &record{}
			var conns []*Conn
			for _, cfg := range []Config{{}, r.config(), {OnRequest: func(_ context.Context, c *Conn) error {
				_, err := c.Reader().Next(1000) // inside a handler
				return err
			}}} {
				client, server := net.Pipe()
				defer client.Close()
				c, err := New(server, cfg, g)
				testkit.Must(t, err)
				conns = append(conns, c)
				if cfg.OnRequest != nil {
					_, _ = client.Write([]byte("x"))
				}
			}
			synctest.Wait()
			testkit.Check(t, g.Close())
			for i, c := range conns {
				if c.IsActive() || !errors.Is(c.Err(), net.ErrClosed) {
					t.Errorf("connection %d: active %v, cause %v, want it closed", i, c.IsActive(), c.Err())
				}
			}
			if g.members.len() != 0 {
				t.Error("the group has connections after Close")
			}
		})
	}
}
