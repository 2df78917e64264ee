package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// patience is how long a test waits for something that must happen before it fails.
const patience = 30 * time.Second

// newTestGroup starts a group that ends with the test.
func newTestGroup(t testing.TB) *conn.Group {
	t.Helper()
	g, err := conn.NewGroup(conn.GroupConfig{SweepPeriod: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// newTestPair returns the two ends of a TCP connection: Kiteline's in g and a plain one.
func newTestPair(t testing.TB, g *conn.Group, opts ...ClientOption) (*netpollconn.Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := NewDialer(append(opts, WithGroup(g))...).DialTimeout("tcp", ln.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept() // it is in the accept queue already
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		peer.Close()
	})
	return c.(*netpollconn.Conn), peer.(*net.TCPConn)
}

// reset sends a RST to the peer of c.
func reset(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if err := c.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next value from ch, or fails the test.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	return testkit.Receive(t, what, ch)
}

// fakeHandler is a Kitex handler made of functions. A nil function does nothing, except that a nil
// onRead takes what has arrived. It records the calls.
type fakeHandler struct {
	remote.ServerTransHandler // nil: the rest is not called

	// changed by change once the server runs
	handlerFuncs

	mu    sync.Mutex // guards the functions once the server runs
	calls []string   // guarded by mu
}

type handlerFuncs struct {
	onActive   func(ctx context.Context, c net.Conn) (context.Context, error)
	onRead     func(ctx context.Context, c net.Conn) error
	onInactive func(ctx context.Context, c net.Conn)
	onShutdown func(ctx context.Context) error
}

// onRead returns a fakeHandler that reads with f.
func onRead(f func(ctx context.Context, c net.Conn) error) *fakeHandler {
	h := &fakeHandler{}
	h.onRead = f
	return h
}

// change has f change h's functions while a server runs.
func (h *fakeHandler) change(f func(h *fakeHandler)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(h)
}

func (h *fakeHandler) funcs() handlerFuncs {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.handlerFuncs
}

func (h *fakeHandler) note(call string) {
	h.mu.Lock()
	h.calls = append(h.calls, call)
	h.mu.Unlock()
}

// noted returns the calls so far.
func (h *fakeHandler) noted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.calls...)
}

func (h *fakeHandler) count(call string) int {
	n := 0
	for _, c := range h.noted() {
		if c == call {
			n++
		}
	}
	return n
}

func (h *fakeHandler) OnActive(ctx context.Context, c net.Conn) (context.Context, error) {
	h.note("active")
	f := h.funcs().onActive
	if f == nil {
		return ctx, nil
	}
	return f(ctx, c)
}

func (h *fakeHandler) OnRead(ctx context.Context, c net.Conn) error {
	h.note("read")
	if f := h.funcs().onRead; f != nil {
		return f(ctx, c)
	}
	r := c.(*netpollconn.Conn).Reader()
	return r.Skip(r.Len())
}

func (h *fakeHandler) OnInactive(ctx context.Context, c net.Conn) {
	h.note("inactive")
	if f := h.funcs().onInactive; f != nil {
		f(ctx, c)
	}
}

func (h *fakeHandler) OnError(_ context.Context, err error, _ net.Conn) {
	h.note("error: " + err.Error())
}

func (h *fakeHandler) GracefulShutdown(ctx context.Context) error {
	h.note("shutdown")
	f := h.funcs().onShutdown
	if f == nil {
		return nil
	}
	return f(ctx)
}

// echoLine answers one message of four bytes.
func echoLine(_ context.Context, c net.Conn) error {
	nc := c.(*netpollconn.Conn)
	p, err := nc.Reader().Next(4)
	if err != nil {
		return err
	}
	_, err = nc.Write(p)
	return err
}

// testServer is a transport server that serves a listener.
type testServer struct {
	*transServer
	t       testing.TB
	network string
	address string
	served  chan error
	once    sync.Once
	err     error // what Shutdown returned
}

// startTransServer serves h until the test ends.
func startTransServer(t testing.TB, opt *remote.ServerOption, h remote.ServerTransHandler, opts ...ServerOption) *testServer {
	t.Helper()
	if opt.ExitWaitTime == 0 {
		opt.ExitWaitTime = patience
	}
	ts := NewTransServerFactory(opts...).NewTransServer(opt, h).(*transServer)
	ln, err := ts.CreateListener(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{transServer: ts, t: t, network: "tcp", address: ln.Addr().String(), served: make(chan error, 1)}
	go func() { s.served <- ts.BootstrapServer(ln) }()
	s.dial().Close() // it serves
	eventually(t, "the first connection is gone", func() bool { return s.connCount.Value() == 0 && served(h) })
	if f, ok := h.(*fakeHandler); ok {
		f.mu.Lock()
		f.calls = nil
		f.mu.Unlock()
	}
	t.Cleanup(func() { _ = s.shutdown() })
	return s
}

// served reports whether a fakeHandler has seen a connection come and go.
func served(h remote.ServerTransHandler) bool {
	f, ok := h.(*fakeHandler)
	return !ok || f.count("inactive") > 0
}

// shutdown stops the server, once, and returns what Shutdown returned.
func (s *testServer) shutdown() error {
	s.t.Helper()
	s.once.Do(func() {
		s.err = s.Shutdown()
		if err := receive(s.t, "BootstrapServer", s.served); err != nil {
			s.t.Errorf("BootstrapServer: got %v, want nil", err)
		}
	})
	return s.err
}

func (s *testServer) dial() *net.TCPConn {
	s.t.Helper()
	c, err := net.Dial(s.network, s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// exchange sends a message of four bytes and expects it back.
func exchange(t testing.TB, c net.Conn, message string) {
	t.Helper()
	if _, err := io.WriteString(c, message); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len(message))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != message {
		t.Fatalf("got %q, %v, want %q", answer, err, message)
	}
}

// wantClosed waits for the peer of c to close it.
func wantClosed(t testing.TB, c net.Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes, %v, want a closed connection", n, err)
	}
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	testkit.Eventually(t, what, done)
}

// logs is what was written to Kitex's log since captureLogs.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// lines returns how many times text was logged.
func (l *logs) lines(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.buf.Bytes(), []byte(text))
}

// captureLogs redirects Kitex's log to the returned logs until the test ends. Kitex has one logger
// per process, so tests that look at it do not run in parallel. Other tests use captureLogs to keep
// their output short.
func captureLogs(t testing.TB) *logs {
	l := &logs{}
	klog.SetOutput(l)
	t.Cleanup(func() { klog.SetOutput(os.Stderr) })
	return l
}

func socketPath(t testing.TB) string { return filepath.Join(t.TempDir(), "s") }

// wrap makes nc a Kiteline connection in g.
func wrap(t testing.TB, g *conn.Group, nc net.Conn) *netpollconn.Conn {
	t.Helper()
	c, err := conn.New(nc, conn.Config{}, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return netpollconn.Of(c)
}

// wantError expects an error with text in it, or no error if text is empty.
func wantError(t testing.TB, what string, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Errorf("%s: got %v, want no error", what, err)
	case text != "" && err == nil:
		t.Errorf("%s: got no error, want one with %q", what, text)
	case text != "" && !strings.Contains(err.Error(), text):
		t.Errorf("%s: got %v, want %q in it", what, err, text)
	}
}

// must panics on an error of a step that cannot fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
