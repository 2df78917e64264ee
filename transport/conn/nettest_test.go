package conn_test

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestNetConn checks a Conn against the contract of net.Conn, over each kind of socket, with and
// without a poller.
func TestNetConn(t *testing.T) {
	t.Parallel()
	for _, network := range testsystem.Networks("tcp", "unix", "pipe") {
		t.Run(network, func(t *testing.T) {
			group := newGroup(t, conn.GroupConfig{})
			for name, g := range map[string]*conn.Group{"group": group, "no group": nil} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
						a, b := netPair(t, network)
						c1, err1 := conn.New(a, conn.Config{}, g)
						c2, err2 := conn.New(b, conn.Config{}, g)
						if err1 != nil || err2 != nil {
							t.Fatal(err1, err2)
						}
						return c1, c2, func() { c1.Close(); c2.Close() }, nil
					})
				})
			}
		})
	}
}
