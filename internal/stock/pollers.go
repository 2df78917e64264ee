//go:build !windows

package stock

import (
	"net"
	"time"

	"github.com/cloudwego/netpoll"
)

// StartPollers has netpoll open the pollers that it keeps for good, so that they are not taken for
// what a test leaves.
func StartPollers() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return // no test will get far
	}
	defer ln.Close()
	if c, err := netpoll.DialConnection("tcp", ln.Addr().String(), time.Second); err == nil {
		_ = c.Close()
	}
}
