//go:build unix && !solaris && !aix

package conn

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reusePort sets SO_REUSEPORT before the socket is bound.
func reusePort(_, _ string, raw syscall.RawConn) error {
	var errno error
	err := raw.Control(func(fd uintptr) {
		errno = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", errno)
}

// hasBacklog reports whether a listener has a connection waiting to be accepted.
func hasBacklog(raw syscall.RawConn) (has bool) {
	_ = raw.Control(func(fd uintptr) { // fails on a closed one, which has none
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		for err == unix.EINTR {
			n, err = unix.Poll(fds, 0)
		}
		has = n > 0 && fds[0].Revents&unix.POLLIN != 0
	})
	return has
}
