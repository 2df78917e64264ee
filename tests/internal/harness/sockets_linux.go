package harness

import (
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// inheritNone keeps the existing sockets from processes that are started later. Package net does
// that for its own; a connection that netpoll has accepted would outlive its end here for as long
// as such a process runs.
func inheritNone() {
	descriptors, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		panic(err) // the pattern is bad
	}
	for _, d := range descriptors {
		if fd, err := strconv.Atoi(filepath.Base(d)); err == nil && fd > unix.Stderr {
			unix.CloseOnExec(fd)
		}
	}
}

// isNetpolls reports whether a descriptor is a TCP connection that netpoll has made for a stock
// peer. Package net, which makes all of Kiteline's, makes the kernel probe each of its connections;
// netpoll does not.
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
