//go:build !unix && !windows

package conn

import "net"

// newSocket takes every net.Conn as it is: on this platform no descriptor can be read without
// waiting.
func newSocket(nc net.Conn) (socket, bool) { return plainSocket{nc}, false }

// arrivedIn is not called: there is no descriptor.
func arrivedIn(uintptr) int { return 0 }
