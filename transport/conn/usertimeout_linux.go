package conn

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout sets TCP_USER_TIMEOUT of a TCP socket; see tcp(7).
func setUserTimeout(sock socket, d time.Duration) error {
	if _, tcp := sock.netConn().(*net.TCPConn); !tcp {
		return errors.ErrUnsupported
	}
	milliseconds := max(d, 0) / time.Millisecond
	if d > 0 && d%time.Millisecond > 0 {
		milliseconds++ // zero would be the system's default
	}
	milliseconds = min(milliseconds, maxUserTimeout)
	var err error
	closed := sock.withFD(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(milliseconds)))
	})
	if closed != nil {
		return closed
	}
	return err
}

// maxUserTimeout is how many milliseconds fit into the kernel's int.
const maxUserTimeout = 1<<31 - 1
