//go:build !windows

package netpollconn_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// patience is how long a test waits for something that must happen before it fails.
const patience = 10 * time.Second

// newGroup starts a group that ends with the test.
func newGroup(t testing.TB) *conn.Group {
	t.Helper()
	g, err := conn.NewGroup(conn.GroupConfig{SweepPeriod: 5 * time.Millisecond})
	testkit.Must(t, err)
	t.Cleanup(func() { testkit.Check(t, g.Close()) })
	return g
}

// kind is an implementation of netpoll.Connection.
type kind struct {
	name string
	dial func(t testing.TB, network, address string) (netpoll.Connection, error)
}

// kinds are netpoll's own connection and ours, which must agree.
var kinds = []kind{
	{"netpoll", func(_ testing.TB, network, address string) (netpoll.Connection, error) {
		return netpoll.DialConnection(network, address, patience)
	}},
	{"kiteline", func(t testing.TB, network, address string) (netpoll.Connection, error) {
		d := conn.Dialer{Group: newGroup(t)}
		c, err := d.DialTimeout(network, address, patience)
		if err != nil {
			return nil, err
		}
		return netpollconn.Of(c), nil
	}},
}

// pair returns a connection of the kind and its plain peer.
func (k kind) pair(t testing.TB) (netpoll.Connection, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	c, err := k.dial(t, "tcp", ln.Addr().String())
	testkit.Must(t, err)
	peer, err := ln.Accept()
	testkit.Must(t, err)
	_ = peer.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() {
		c.Close()
		peer.Close()
	})
	return c, peer.(*net.TCPConn)
}

// ours returns a connection of this package and its peer.
func ours(t testing.TB) (*netpollconn.Conn, *net.TCPConn) {
	t.Helper()
	c, peer := kinds[1].pair(t)
	return c.(*netpollconn.Conn), peer
}

func send(t testing.TB, c net.Conn, data string) {
	t.Helper()
	_, err := c.Write([]byte(data))
	testkit.Must(t, err)
}

// wantString reads want from r.
func wantString(t testing.TB, r netpoll.Reader, want string) {
	t.Helper()
	if got, err := r.ReadString(len(want)); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// wantBytes reads want from c.
func wantBytes(t testing.TB, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Errorf("got %.30q, %v, want %.30q", got, err, want)
	}
}
