package conn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestActiveSeesFIN: IsActive turns false when the peer closes, in every state of the connection.
func TestActiveSeesFIN(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	never := time.Hour
	for _, tc := range []struct {
		name   string
		sweep  time.Duration
		cfg    conn.Config
		group  bool
		polled bool // needs a poller
		before func(peer net.Conn, c *conn.Conn)
	}{
		{"user, asked by peek", never, conn.Config{}, true, false, nil},
		{"user, without a group", 0, conn.Config{}, false, false, nil},
		{"user, armed by the sweep", time.Millisecond, conn.Config{}, true, true, func(net.Conn, *conn.Conn) { time.Sleep(20 * time.Millisecond) }},
		{"dormant", time.Millisecond, conn.Config{OnRequest: echo}, true, false, nil},
		{"lingering", never, conn.Config{OnRequest: echo}, true, false, func(peer net.Conn, _ *conn.Conn) {
			_, _ = peer.Write([]byte("x"))
			_, _ = io.ReadFull(peer, make([]byte, 1))
		}},
		{"in a handler that reads nothing", time.Millisecond, conn.Config{OnRequest: func(_ context.Context, c *conn.Conn) error {
			<-release
			return c.Reader().Skip(c.Reader().Len())
		}}, true, true, func(peer net.Conn, _ *conn.Conn) { _, _ = peer.Write([]byte("x")) }},
	} {
		for _, network := range networks {
			t.Run(tc.name+"/"+network, func(t *testing.T) {
				if tc.polled && !hasPoller(t) {
					t.Skip("no poller")
				}
				var g *conn.Group
				if tc.group {
					var err error
					if g, err = conn.NewGroup(conn.GroupConfig{SweepPeriod: tc.sweep}); err != nil {
						t.Fatal(err)
					}
					defer func() { go g.Close() }() // waits for the handlers of this test
				}
				peer, nc := netPair(t, network)
				var told atomic.Int32
				cfg := tc.cfg
				cfg.OnDisconnect = func(context.Context, *conn.Conn) { told.Add(1) }
				c := newConn(t, nc, cfg, g)
				defer c.Close()
				if tc.before != nil {
					tc.before(peer, c)
				}
				if !c.IsActive() {
					t.Errorf("not active while the peer is there: %v", c.Err())
				}
				peer.Close()
				testkit.Eventually(t, "inactive", func() bool { return !c.IsActive() })
				testkit.Eventually(t, "OnDisconnect", func() bool { return told.Load() == 1 })
				if err := c.Err(); err != io.EOF {
					t.Errorf("got cause %v, want %v", err, io.EOF)
				}
			})
		}
	}
}

// TestBufferedAfterFIN: what came before the FIN stays readable, then reads return io.EOF.
func TestBufferedAfterFIN(t *testing.T) {
	for _, network := range append(networks, "pipe") {
		peer, nc := netPair(t, network)
		c := newConn(t, nc, conn.Config{}, newGroup(t, conn.GroupConfig{SweepPeriod: time.Millisecond}))
		go func() {
			_, _ = peer.Write([]byte("abcdef"))
			peer.Close()
		}()
		if p, err := c.Reader().Peek(2); string(p) != "ab" || err != nil {
			t.Errorf("%s: got %q, %v", network, p, err)
		}
		if network != "pipe" {
			testkit.Eventually(t, "inactive", func() bool { return !c.IsActive() })
		}
		if p, err := c.Reader().Next(4); string(p) != "abcd" || err != nil {
			t.Errorf("%s: got %q, %v", network, p, err)
		}
		if p, err := c.Reader().Next(4); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %q, %v, want %v", network, p, err, io.ErrUnexpectedEOF)
		}
		if p, err := c.Reader().Next(2); string(p) != "ef" || err != nil {
			t.Errorf("%s: got %q, %v", network, p, err)
		}
		if _, err := c.Reader().Next(1); err != io.EOF {
			t.Errorf("%s: got %v, want %v", network, err, io.EOF)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: got %v, want %v", network, err, io.EOF)
		}
		c.Close()
	}
}

// TestSetOnRequestOverSockets hands connections to a handler with bytes in the
// buffer, in the socket, or later.
func TestSetOnRequestOverSockets(t *testing.T) {
	for _, network := range append(networks, "pipe") {
		for _, grouped := range []bool{true, false} {
			for _, where := range []string{"buffer", "socket", "later"} {
				t.Run(network+"/"+where, func(t *testing.T) {
					var g *conn.Group
					if grouped {
						g = newGroup(t, conn.GroupConfig{SweepPeriod: time.Millisecond})
					}
					peer, nc := netPair(t, network)
					defer peer.Close()
					c := newConn(t, nc, conn.Config{}, g)
					defer c.Close()
					sent := make(chan struct{})
					send := func() { _, _ = peer.Write([]byte("hello")); close(sent) }
					switch where {
					case "buffer":
						go send()
						if _, err := c.Reader().Peek(1); err != nil {
							t.Fatal(err)
						}
					case "socket":
						if network == "pipe" {
							go send()
						} else {
							send()
							testkit.Eventually(t, "unread", func() bool { return !c.IsReusable() })
						}
					}
					testkit.Must(t, c.SetOnRequest(echo))
					if where == "later" {
						go send()
					}
					answer := make([]byte, 5)
					_ = peer.SetDeadline(time.Now().Add(patience))
					if _, err := io.ReadFull(peer, answer); err != nil || string(answer) != "hello" {
						t.Errorf("got %q, %v", answer, err)
					}
					<-sent
				})
			}
		}
	}
}
