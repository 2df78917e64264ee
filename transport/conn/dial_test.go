package conn_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestDialErrors: a failed dial is the *net.OpError of net.Dialer.
func TestDialErrors(t *testing.T) {
	ln := listen(t, "tcp")
	refused := ln.Addr().String()
	ln.Close()
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancelLate := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancelLate()
	<-late.Done()
	for _, tc := range []struct {
		name    string
		ctx     context.Context
		want    error
		timeout bool
	}{
		{"refused", context.Background(), testsystem.Refused(), false},
		{"cancelled", cancelled, nil, false},
		{"timeout", late, nil, true},
	} {
		var d conn.Dialer
		c, err := d.DialContext(tc.ctx, "tcp", refused)
		var op *net.OpError
		if c != nil || !errors.As(err, &op) || op.Timeout() != tc.timeout || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, %v (%T), want a *net.OpError with %v, Timeout %v", tc.name, c, err, err, tc.want, tc.timeout)
		}
	}
}

// TestDialTimeoutRace: a timeout about as long as connecting takes gives either a connection that
// works or a timeout, and leaks nothing.
func TestDialTimeoutRace(t *testing.T) {
	s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{OnRequest: echoFrames}})
	g := newGroup(t, conn.GroupConfig{})
	d := conn.Dialer{Group: g}
	connected := 0
	for i := range testkit.Rounds(300) {
		c, err := d.DialTimeout("tcp", s.address, time.Duration(1+i%300)*time.Microsecond)
		if err != nil {
			if nerr := net.Error(nil); !errors.As(err, &nerr) || !nerr.Timeout() {
				t.Errorf("got %v, want a timeout", err)
			}
			continue
		}
		connected++
		wantEcho(t, c, "x")
		c.Close()
	}
	t.Logf("%d connected", connected)
	testkit.Eventually(t, "all closed", func() bool { return s.ConnCount() == 0 })
}

// TestListenShared: one address, several listeners, each served by the same server.
func TestListenShared(t *testing.T) {
	listeners, err := conn.ListenShared(context.Background(), "tcp", "127.0.0.1:0", 3)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	testkit.Must(t, err)
	srv, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{OnRequest: echoFrames}})
	testkit.Must(t, err)
	var wg sync.WaitGroup
	for _, ln := range listeners {
		testkit.Equal(t, ln.Addr().String(), listeners[0].Addr().String(), "address")
		wg.Go(func() {
			testkit.Check(t, srv.Serve(ln))
		})
	}
	for range 50 {
		c := dial(t, "tcp", listeners[0].Addr().String())
		_ = c.SetDeadline(time.Now().Add(patience))
		wantEcho(t, c, "x")
		c.Close()
	}
	testkit.Check(t, srv.Close())
	wg.Wait()
	if _, err := conn.ListenShared(context.Background(), "tcp", "256.0.0.1:0", 2); err == nil {
		t.Error("ListenShared on a bad address: got nil, want an error")
	}
}

// TestPanicsOverSockets: a panic in a callback ends its connection only.
func TestPanicsOverSockets(t *testing.T) {
	causes := make(chan error, 10)
	s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{
		OnPrepare: func(c *conn.Conn) context.Context {
			_ = c.AddCloseCallback(func(c *conn.Conn) { causes <- c.Err() })
			return nil
		},
		OnRequest: func(ctx context.Context, c *conn.Conn) error {
			if c.Reader().Len() == 1 {
				panic("boom")
			}
			return echoFrames(ctx, c)
		},
	}})
	good, bad := s.dial(t), s.dial(t)
	wantEcho(t, good, "x")
	_, _ = bad.Write([]byte("!"))
	var p *conn.PanicError
	if err := testkit.Receive(t, "the end", causes); !errors.As(err, &p) {
		t.Errorf("got %v, want a *PanicError", err)
	}
	wantEcho(t, good, "x")
}
