//go:build !windows

package leak

import (
	"net"
	"time"

	"github.com/cloudwego/netpoll"
)

// startPollers has the runtime and netpoll open the pollers that they keep for good.
func startPollers() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return // no test will get far
	}
	defer ln.Close()
	if c, err := netpoll.DialConnection("tcp", ln.Addr().String(), time.Second); err == nil {
		_ = c.Close()
	}
}
