//go:build !windows

package netpollconn_test

import (
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
	t.Cleanup(func() {
		testkit.Check(t, g.Close())
	})
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

// receive returns the next value from ch, or fails the test.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	return testkit.Receive(t, what, ch)
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	testkit.Eventually(t, what, done)
}

func noError(t testing.TB, err error) {
	t.Helper()
	testkit.Must(t, err)
}

func send(t testing.TB, c net.Conn, data string) {
	t.Helper()
	_, err := c.Write([]byte(data))
	noError(t, err)
}
