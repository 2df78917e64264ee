package harness

import "golang.org/x/sys/unix"

// isNetpolls reports whether a descriptor is a TCP connection that netpoll has made for a stock peer: package net, by
// which all of Kiteline's are made, has the kernel probe each of its connections, and netpoll none.
func isNetpolls(fd int) bool {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || protocol != unix.IPPROTO_TCP {
		return false
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listens != 0 {
		return false
	}
	probed, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	return err == nil && probed == 0
}
