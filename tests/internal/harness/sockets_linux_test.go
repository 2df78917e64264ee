package harness

import (
	"net"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestNetpollsSockets tells a connection that netpoll has dialed from one that package net has
// dialed.
func TestNetpollsSockets(t *testing.T) {
	ln := Listen(t, "tcp")
	defer ln.Close()
	stock, err := netpoll.NewDialer().DialTimeout("tcp", ln.Addr().String(), testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer stock.Close()
	if !isNetpolls(stock.(netpoll.Conn).Fd()) {
		t.Error("netpoll's connection is not known")
	}
	own, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for _, c := range []any{own, ln} {
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if isNetpolls(int(fd)) {
				t.Errorf("a %T of package net is taken for netpoll's", c)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
