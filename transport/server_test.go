package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
	"github.com/kiteline/kiteline/transport/pool"
)

type ctxKey struct{}

func TestServerCallsHandlerInOrder(t *testing.T) {
	g := newTestGroup(t)
	h := &fakeHandler{}
	var read, inactive atomic.Value
	entered, leave := make(chan struct{}), make(chan struct{})
	h.onActive = func(ctx context.Context, c net.Conn) (context.Context, error) {
		if n := c.(*netpollconn.Conn).Conn.Reader().Len(); n != 0 {
			t.Errorf("OnActive: %d bytes were read", n)
		}
		return context.WithValue(ctx, ctxKey{}, c), nil
	}
	h.onRead = func(ctx context.Context, c net.Conn) error {
		read.Store(ctx.Value(ctxKey{}) == c)
		entered <- struct{}{}
		<-leave
		return echoLine(ctx, c)
	}
	h.onInactive = func(ctx context.Context, c net.Conn) { inactive.Store(ctx.Value(ctxKey{}) == c) }
	s := startTransServer(t, &remote.ServerOption{}, h, WithGroup(g))

	c := s.dial()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	receive(t, "OnRead", entered)
	c.Close()
	if got := h.noted(); !slices.Equal(got, []string{"active", "read"}) {
		t.Errorf("while OnRead runs: got %v", got)
	}
	if got := s.ConnCount(); got.Value() != 1 {
		t.Errorf("ConnCount: got %d, want 1", got.Value())
	}
	close(leave)
	eventually(t, "the connection is gone", func() bool { return h.count("inactive") == 1 })
	if got := h.noted(); !slices.Equal(got[:2], []string{"active", "read"}) || got[len(got)-1] != "inactive" {
		t.Errorf("got %v", got)
	}
	if read.Load() != true || inactive.Load() != true {
		t.Errorf("OnActive's context: got %v in OnRead, %v in OnInactive", read.Load(), inactive.Load())
	}
	count := s.ConnCount()
	if count.Value() != 0 {
		t.Errorf("ConnCount: got %d, want 0", count.Value())
	}
}

// Oneway calls depend on this: the client closes right after the request.
func TestServerReadsWhatCameBeforeTheClose(t *testing.T) {
	g := newTestGroup(t)
	h := &fakeHandler{}
	var got atomic.Int64
	h.onRead = func(_ context.Context, c net.Conn) error {
		p, err := c.(*netpollconn.Conn).Reader().Next(4)
		got.Add(int64(len(p)))
		return err
	}
	s := startTransServer(t, &remote.ServerOption{}, h, WithGroup(g))
	const rounds = 50
	for range rounds {
		c := s.dial()
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	eventually(t, "all are gone", func() bool { return h.count("inactive") == rounds })
	if got.Load() != 4*rounds {
		t.Errorf("got %d bytes, want %d", got.Load(), 4*rounds)
	}
}

// Kitex's connection limiter relies on OnInactive, whatever happens.
func TestServerBalancesOnActive(t *testing.T) {
	refused := errors.New("refused")
	for _, tc := range []struct {
		name string
		set  func(h *fakeHandler)
		want string // among the calls, besides active and inactive
	}{
		{"OnActive fails", func(h *fakeHandler) {
			h.onActive = func(ctx context.Context, _ net.Conn) (context.Context, error) { return ctx, refused }
		}, "error: refused"},
		{"OnActive fails without a context", func(h *fakeHandler) {
			h.onActive = func(context.Context, net.Conn) (context.Context, error) { return nil, refused }
		}, "error: refused"},
		{"OnActive closes", func(h *fakeHandler) {
			h.onActive = func(ctx context.Context, c net.Conn) (context.Context, error) { return ctx, c.Close() }
		}, ""},
		{"OnActive panics", func(h *fakeHandler) {
			h.onActive = func(context.Context, net.Conn) (context.Context, error) { panic("boom") }
		}, ""},
		{"OnRead fails", func(h *fakeHandler) {
			h.onRead = func(context.Context, net.Conn) error { return refused }
		}, "error: refused"},
		{"OnRead panics", func(h *fakeHandler) {
			h.onRead = func(context.Context, net.Conn) error { panic("boom") }
		}, "read"},
		{"OnRead closes", func(h *fakeHandler) {
			h.onRead = func(_ context.Context, c net.Conn) error { return c.Close() }
		}, "read"},
		{"OnInactive panics", func(h *fakeHandler) {
			h.onInactive = func(context.Context, net.Conn) { panic("boom") }
			h.onRead = func(_ context.Context, c net.Conn) error { return c.Close() }
		}, "read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			captureLogs(t)
			g := newTestGroup(t)
			h := &fakeHandler{}
			s := startTransServer(t, &remote.ServerOption{}, h, WithGroup(g))
			h.change(tc.set) // before the first connection that counts
			const rounds = 5
			for range rounds {
				c := s.dial()
				_, _ = c.Write([]byte("ping")) // it may be closed already
				wantClosed(t, c)
			}
			eventually(t, "all are gone", func() bool {
				return h.count("inactive") == rounds && s.connCount.Value() == 0
			})
			if got := h.count("active"); got != rounds {
				t.Errorf("OnActive: got %d calls, want %d", got, rounds)
			}
			if got := h.count(tc.want); tc.want != "" && got != rounds {
				t.Errorf("%s: got %d, want %d: %v", tc.want, got, rounds, h.noted())
			}
			if strings.HasPrefix(tc.name, "OnActive") && h.count("read") != 0 {
				t.Error("OnRead was called")
			}
			if err := s.shutdown(); err != nil {
				t.Error(err)
			}
			if got := h.count("inactive"); got != rounds {
				t.Errorf("OnInactive: got %d calls, want %d", got, rounds)
			}
		})
	}
}

// OnError comes before the connection is closed, so that Kitex can log the peer.
func TestServerTellsOnErrorThenCloses(t *testing.T) {
	h := onRead(func(context.Context, net.Conn) error { return errors.New("bad") })
	s := startTransServer(t, &remote.ServerOption{}, h, WithGroup(newTestGroup(t)))
	c := s.dial()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, c)
	eventually(t, "it is gone", func() bool { return h.count("inactive") == 1 })
	if got, want := h.noted(), []string{"active", "read", "error: bad", "inactive"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestServerLogsPanicsOncePerSecond(t *testing.T) {
	captured := captureLogs(t)
	g := newTestGroup(t)
	start := time.Now()
	for range 2 {
		h := &fakeHandler{}
		var broken atomic.Bool
		broken.Store(true)
		h.onRead = func(ctx context.Context, c net.Conn) error {
			if broken.Load() {
				panic("boom")
			}
			return echoLine(ctx, c)
		}
		s := startTransServer(t, &remote.ServerOption{}, h, WithGroup(g))
		for range 10 {
			c := s.dial()
			if _, err := c.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			wantClosed(t, c)
		}
		broken.Store(false)
		exchange(t, s.dial(), "ping") // it lives
	}
	got, most := captured.lines("panic in a handler"), 2*(1+int(time.Since(start)/time.Second))
	if got < 2 || got > most {
		t.Errorf("got %d lines of two servers, want 2 to %d", got, most)
	}
	if captured.lines("error=boom") != got || captured.lines("stack=") != got || captured.lines("remoteAddress=127.0.0.1:") != got {
		t.Errorf("a line lacks the panic, its stack or the peer")
	}
}

func newTransServer(opt *remote.ServerOption, h remote.ServerTransHandler, opts ...ServerOption) *transServer {
	return NewTransServerFactory(opts...).NewTransServer(opt, h).(*transServer)
}

func TestCreateListenerUnix(t *testing.T) {
	testsystem.SkipWithoutNetwork(t, "unix")
	s := newTransServer(&remote.ServerOption{}, &fakeHandler{})
	path := socketPath(t)
	addr := &net.UnixAddr{Net: "unix", Name: path}
	leftover, err := net.ListenUnix("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	leftover.SetUnlinkOnClose(false)
	leftover.Close()
	ln, err := s.CreateListener(addr)
	if err != nil {
		t.Fatalf("with a socket's file left over: %v", err)
	}
	ln.Close()

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ln, err := s.CreateListener(addr); err == nil {
		ln.Close()
		t.Error("listened in place of a regular file")
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "precious" {
		t.Errorf("the file: got %q, %v", got, err)
	}
}

func TestCreateListenerErrors(t *testing.T) {
	s := newTransServer(&remote.ServerOption{}, &fakeHandler{})
	ln, err := s.CreateListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if second, err := s.CreateListener(ln.Addr()); err == nil {
		second.Close()
		t.Error("two listeners without ReusePort")
	}
	if ln, err := s.CreateListener(&net.UnixAddr{Net: "unix", Name: "/nonexistent/dir/s"}); err == nil {
		ln.Close()
		t.Error("listened in a directory that does not exist")
	}
}

func TestCreateListenerReusePort(t *testing.T) {
	s := newTransServer(&remote.ServerOption{ReusePort: true}, &fakeHandler{})
	first, err := s.CreateListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := s.CreateListener(first.Addr())
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}

func TestServerOverUnixSocket(t *testing.T) {
	testsystem.SkipWithoutNetwork(t, "unix")
	t.Parallel()
	h := onRead(echoLine)
	s := newTransServer(&remote.ServerOption{ExitWaitTime: patience}, h, WithGroup(newTestGroup(t)))
	path := socketPath(t)
	ln, err := s.CreateListener(&net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.BootstrapServer(ln) }()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, "ping")
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
	if err := receive(t, "BootstrapServer", served); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket's file after Shutdown: got %v, want none", err)
	}
}

func TestBootstrapNil(t *testing.T) {
	if err := newTransServer(&remote.ServerOption{}, &fakeHandler{}).BootstrapServer(nil); err == nil {
		t.Error("got nil")
	}
}

func TestShutdownFirst(t *testing.T) {
	h := &fakeHandler{}
	s := newTransServer(&remote.ServerOption{ExitWaitTime: patience}, h, WithGroup(newTestGroup(t)))
	if err := s.Shutdown(); err != nil {
		t.Errorf("Shutdown before Bootstrap: got %v, want nil", err)
	}
	if got := h.count("shutdown"); got != 1 {
		t.Errorf("GracefulShutdown: got %d calls, want 1", got)
	}
	ln, err := s.CreateListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.BootstrapServer(ln); err != nil {
		t.Errorf("Bootstrap after Shutdown: got %v, want nil", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener: got %v, want net.ErrClosed", err)
	}
	if err := s.Shutdown(); err != nil {
		t.Errorf("second Shutdown: got %v, want nil", err)
	}
}

// A listener that fails ends BootstrapServer with its error, and Shutdown still works.
func TestBootstrapListenerFails(t *testing.T) {
	s := newTransServer(&remote.ServerOption{ExitWaitTime: patience}, &fakeHandler{}, WithGroup(newTestGroup(t)))
	ln, err := s.CreateListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := s.BootstrapServer(ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
}

func TestDialInClosedGroup(t *testing.T) {
	g, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := NewDialer(WithGroup(g)).DialTimeout("tcp", "127.0.0.1:1", time.Second); err == nil {
		c.Close()
		t.Error("dialed in a closed group")
	}
}

// A server whose group is closed refuses its connections and can still be stopped.
func TestServerInClosedGroup(t *testing.T) {
	g, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	h := &fakeHandler{}
	s := newTransServer(&remote.ServerOption{ExitWaitTime: patience}, h, WithGroup(g))
	ln, err := s.CreateListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.BootstrapServer(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	wantClosed(t, c)
	if err := s.Shutdown(); err != nil {
		t.Error(err)
	}
	if err := receive(t, "BootstrapServer", served); err != nil {
		t.Error(err)
	}
	if got := h.noted(); !slices.Equal(got, []string{"shutdown"}) {
		t.Errorf("got %v, want no connection", got)
	}
}

func TestShutdownServesALateRequest(t *testing.T) {
	h := onRead(echoLine)
	var told context.Context
	h.onShutdown = func(ctx context.Context) error {
		told = ctx
		return errors.New("handlers' own trouble") // it is logged and stops nothing
	}
	captured := captureLogs(t)
	s := startTransServer(t, &remote.ServerOption{}, h, WithGroup(newTestGroup(t)))
	c := s.dial()
	exchange(t, c, "ping")
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- s.shutdown() }()
	eventually(t, "the handlers were told", func() bool { return h.count("shutdown") == 1 })
	if probe, err := net.Dial("tcp", s.address); err == nil {
		probe.Close()
		t.Error("a new connection was accepted when the handlers had been told")
	}
	exchange(t, c, "late")
	wantClosed(t, c)
	if err := receive(t, "Shutdown", done); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if took := time.Since(start); took < shutdownGrace {
		t.Errorf("took %v, less than the grace of %v", took, shutdownGrace)
	}
	if deadline, ok := told.Deadline(); !ok || time.Until(deadline) > patience {
		t.Errorf("GracefulShutdown's context: deadline %v, %v, want ExitWaitTime's", deadline, ok)
	}
	if captured.lines("handlers' own trouble") != 1 {
		t.Error("the handlers' error was not logged")
	}
}

func TestShutdownWithoutConnectionsIsQuick(t *testing.T) {
	s := startTransServer(t, &remote.ServerOption{}, &fakeHandler{}, WithGroup(newTestGroup(t)))
	eventually(t, "none is open", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.server.ConnCount() == 0
	})
	start := time.Now()
	if err := s.shutdown(); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took >= shutdownGrace {
		t.Errorf("took %v, want no grace with nobody to grant it to", took)
	}
}

// Shutdown waits for a running request; one that outlives ExitWaitTime is cut off.
func TestShutdownWaitsForRequests(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		exit time.Duration
		want error
	}{
		{"long enough", patience, nil},
		{"ExitWaitTime passes", 50 * time.Millisecond, context.DeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			entered, leave := make(chan struct{}), make(chan struct{})
			h := onRead(func(ctx context.Context, c net.Conn) error {
				close(entered)
				<-leave
				return echoLine(ctx, c)
			})
			s := startTransServer(t, &remote.ServerOption{ExitWaitTime: tc.exit}, h, WithGroup(newTestGroup(t)))
			c := s.dial()
			if _, err := c.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			receive(t, "OnRead", entered)
			done := make(chan error, 1)
			go func() { done <- s.shutdown() }()
			if tc.want == nil {
				eventually(t, "the handlers were told", func() bool { return h.count("shutdown") == 1 })
				close(leave)
				answer := make([]byte, 4)
				if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "ping" {
					t.Errorf("got %q, %v", answer, err)
				}
			}
			wantClosed(t, c)
			if err := receive(t, "Shutdown", done); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				if got := h.count("inactive"); got != 0 {
					t.Error("OnInactive while OnRead runs")
				}
				close(leave)
			}
			eventually(t, "it is gone", func() bool { return h.count("inactive") == 1 })
		})
	}
}

// TestWriteTimeoutOr: zero and less mean none where Kitex's timeout does, also on connections that
// calls share. muxserver has a default for zero.
func TestWriteTimeoutOr(t *testing.T) {
	for _, tc := range []struct {
		name  string
		opt   remote.ServerOption
		opts  []ServerOption
		write time.Duration
	}{
		{"Kitex's", remote.ServerOption{ReadWriteTimeout: time.Second}, nil, time.Second},
		{"overridden", remote.ServerOption{ReadWriteTimeout: time.Second}, []ServerOption{WithWriteTimeout(3 * time.Second)}, 3 * time.Second},
		{"Kitex's, none", remote.ServerOption{}, nil, 0},
		{"none", remote.ServerOption{ReadWriteTimeout: time.Second}, []ServerOption{WithWriteTimeout(-1)}, -1},
	} {
		s := newServerSettings(takerTransServer, tc.opts)
		if got := s.writeTimeoutOr(tc.opt.ReadWriteTimeout); got != tc.write {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.write)
		}
		read, shared := tc.opt.ReadWriteTimeout, s.muxConfig(&tc.opt)
		if max(shared.WriteTimeout, 0) != max(tc.write, 0) || max(shared.ReadTimeout, 0) != read || shared.WriteTimeout == 0 || shared.ReadTimeout == 0 {
			t.Errorf("%s: shared connections have %v and %v, want %v and %v", tc.name, shared.WriteTimeout, shared.ReadTimeout, tc.write, read)
		}
	}
}

// flood has a handler write more than the kernel takes, and sends the write's error to the channel.
func flood(t *testing.T, opt *remote.ServerOption, opts ...ServerOption) (*fakeHandler, *testServer, chan error) {
	wrote := make(chan error, 1)
	h := onRead(func(_ context.Context, c net.Conn) error {
		_ = c.(*netpollconn.Conn).Reader().Skip(4)
		_, err := c.Write(make([]byte, 16<<20))
		wrote <- err
		return err
	})
	return h, startTransServer(t, opt, h, append(opts, WithGroup(newTestGroup(t)))...), wrote
}

func TestServerWriteTimeout(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		opt  remote.ServerOption
		opts []ServerOption
	}{
		"ReadWriteTimeout": {remote.ServerOption{ReadWriteTimeout: 20 * time.Millisecond}, nil},
		"WithWriteTimeout": {remote.ServerOption{ReadWriteTimeout: time.Hour}, []ServerOption{WithWriteTimeout(20 * time.Millisecond)}},
	} {
		t.Run(name, func(t *testing.T) {
			h, s, wrote := flood(t, &tc.opt, tc.opts...)
			if _, err := s.dial().Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			err := receive(t, "write", wrote)
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want a deadline", err)
			}
			eventually(t, "it is gone", func() bool { return h.count("inactive") == 1 })
		})
	}
}

func TestServerWatermarks(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []conn.Pressure
	pressed := make(chan struct{}, 1)
	_, s, wrote := flood(t, &remote.ServerOption{}, WithWatermarks(1<<10, 64<<10, func(_ *conn.Conn, p conn.Pressure) {
		mu.Lock()
		seen = append(seen, p)
		mu.Unlock()
		select {
		case pressed <- struct{}{}:
		default:
		}
	}))
	c := s.dial()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	receive(t, "pressure", pressed)
	if n, err := io.CopyN(io.Discard, c, 16<<20); err != nil {
		t.Fatalf("read %d: %v", n, err)
	}
	if err := receive(t, "write", wrote); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []conn.Pressure{conn.PressureHigh, conn.PressureLow}; !slices.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestServerReadAndIdleTimeouts(t *testing.T) {
	h := &fakeHandler{}
	h.onRead = func(_ context.Context, c net.Conn) error {
		_, err := c.(*netpollconn.Conn).Reader().Next(100)
		if !(extension{}).IsTimeoutErr(err) {
			t.Errorf("got %v, want a read timeout", err)
		}
		return fmt.Errorf("over: %w", err)
	}
	s := startTransServer(t, &remote.ServerOption{ReadWriteTimeout: 20 * time.Millisecond}, h, WithGroup(newTestGroup(t)))
	c := s.dial()
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, c)

	idle := startTransServer(t, &remote.ServerOption{MaxConnectionIdleTime: 50 * time.Millisecond},
		onRead(echoLine), WithGroup(newTestGroup(t)))
	c = idle.dial()
	exchange(t, c, "ping")
	wantClosed(t, c)
}

func TestServerAcceptors(t *testing.T) {
	t.Parallel()
	for _, n := range []int{-1, 0, 1, 4} {
		h := onRead(echoLine)
		s := startTransServer(t, &remote.ServerOption{}, h, WithGroup(newTestGroup(t)), WithAcceptors(n))
		var dialing sync.WaitGroup
		for range 8 {
			c := s.dial()
			dialing.Go(func() { exchange(t, c, "ping") })
		}
		dialing.Wait()
		if err := s.shutdown(); err != nil {
			t.Errorf("%d acceptors: %v", n, err)
		}
	}
}

func TestNewSettings(t *testing.T) {
	if s := newServerSettings(takerServerSuite, nil); s.group != nil || s.acceptors != 0 || s.writeTimeout != 0 || s.onPressure != nil {
		t.Errorf("no options: got %+v", s)
	}
	g := newTestGroup(t)
	both := []Option{
		WithWriteTimeout(time.Second), WithGroup(nil), WithGroup(g), WithWatermarks(1, 2, func(*conn.Conn, conn.Pressure) {}),
	}
	onServer, onClient := []ServerOption{WithAcceptors(1), WithAcceptors(3)}, []ClientOption{WithPool(pool.Config{MaxIdlePerAddress: 7})}
	for _, opt := range both {
		onServer, onClient = append(onServer, opt), append(onClient, opt)
	}
	server, client := newServerSettings(takerServerSuite, onServer), newClientSettings(takerClientSuite, onClient)
	for side, s := range map[string]*settings{"server": &server.settings, "client": &client.settings} {
		if s.writeTimeout != time.Second || s.lowWatermark != 1 || s.highWatermark != 2 || s.onPressure == nil {
			t.Errorf("%s: got %+v", side, s)
		}
		if got, err := s.groupOrDefault(); got != g || err != nil {
			t.Errorf("%s: group: got %p, %v, want %p", side, got, err, g)
		}
	}
	if server.acceptors != 3 {
		t.Errorf("acceptors: got %d, want 3", server.acceptors)
	}
	if client.pool == nil || client.pool.MaxIdlePerAddress != 7 {
		t.Errorf("pool: got %+v", client.pool)
	}
}
