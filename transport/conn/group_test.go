package conn_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/poller"
)

// hasPoller reports whether this build has pollers.
func hasPoller(t testing.TB) bool {
	t.Helper()
	p, err := poller.Open(poller.Config{})
	if err != nil {
		return false
	}
	p.Close()
	return true
}

// TestResizeBeforeFirstArm: a connection whose poller is retired before the first Arm goes on with
// that poller.
func TestResizeBeforeFirstArm(t *testing.T) {
	if !hasPoller(t) {
		t.Skip("no poller")
	}
	g := newGroup(t, conn.GroupConfig{Pollers: 8, MaxLingering: -1})
	release := make(chan struct{})
	entered := make(chan struct{}, 16)
	s := startServer(t, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{
		OnConnect: func(context.Context, *conn.Conn) context.Context {
			entered <- struct{}{}
			<-release
			return nil
		},
		OnRequest: echoFrames,
	}})
	var clients []net.Conn
	for range 16 {
		clients = append(clients, s.dial(t))
		testkit.Receive(t, "OnConnect", entered)
	}
	testkit.Must(t, g.Resize(1))
	close(release)
	for range 3 {
		for i, c := range clients {
			if got, err := call(c, "x"); got != "x" || err != nil {
				t.Errorf("connection %d: got %q, %v", i, got, err)
			}
		}
	}
}

// TestResizeUnderLoad changes the number of pollers while connections come and go.
func TestResizeUnderLoad(t *testing.T) {
	if !hasPoller(t) {
		t.Skip("no poller")
	}
	g := newGroup(t, conn.GroupConfig{MaxLingering: -1})
	s := startServer(t, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFrames}})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				c, err := net.Dial("tcp", s.address)
				if err != nil {
					t.Error(err)
					return
				}
				for range 20 {
					if got, err := call(c, "hello"); got != "hello" || err != nil {
						t.Errorf("got %q, %v", got, err)
						break
					}
				}
				c.Close()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range testkit.Rounds(60) {
		testkit.Check(t, g.Resize(1+i%5))
		c := s.dial(t)
		for range 5 {
			wantEcho(t, c, "x")
		}
		c.Close()
	}
	close(stop)
	wg.Wait()
	if err := g.Resize(0); err == nil {
		t.Error("Resize(0): got nil, want an error")
	}
}

// TestSharedGroup: several servers and a dialer in one group, one of which ends.
func TestSharedGroup(t *testing.T) {
	for _, policy := range []poller.Policy{poller.RoundRobin, poller.Random, poller.LeastConnections, poller.SourceHash} {
		g := newGroup(t, conn.GroupConfig{Pollers: 2, Policy: policy})
		cfg := conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFrames}}
		a, b := startServer(t, "tcp", cfg), startServer(t, "unix", cfg)
		ca, cb := a.dialConn(t, conn.Config{}, g), b.dialConn(t, conn.Config{}, g)
		for _, c := range []*conn.Conn{ca, cb} {
			if got, err := call(c, "x"); got != "x" || err != nil {
				t.Errorf("%v: got %q, %v", policy, got, err)
			}
		}
		testkit.Check(t, a.Close())
		if _, err := call(ca, "x"); err == nil {
			t.Error("a closed server answers")
		}
		if got, err := call(cb, "x"); got != "x" || err != nil {
			t.Errorf("%v: after the other server's end: got %q, %v", policy, got, err)
		}
	}
}

// TestClosedGroup: a closed group takes no connection.
func TestClosedGroup(t *testing.T) {
	if !hasPoller(t) {
		t.Skip("no poller")
	}
	g, err := conn.NewGroup(conn.GroupConfig{})
	testkit.Must(t, err)
	for range 2 {
		testkit.Check(t, g.Close())
	}
	client, server := netPair(t, "tcp")
	defer client.Close()
	if _, err := conn.New(server, conn.Config{}, g); !errors.Is(err, net.ErrClosed) {
		t.Errorf("New in a closed group: got %v, want %v", err, net.ErrClosed)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("New failed and left the connection open")
	}
	testkit.ErrorIs(t, g.Resize(2), net.ErrClosed, "Resize of a closed group")
}
