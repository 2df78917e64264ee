//go:build !unix

package conn

import "net"

// newSocket takes every net.Conn as it is: this platform has no descriptor to
// read without waiting.
func newSocket(nc net.Conn) (socket, bool) { return plainSocket{nc}, false }
