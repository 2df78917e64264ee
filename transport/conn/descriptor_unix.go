//go:build unix && !solaris && !aix

package conn

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// queueOfDescriptor returns a listener of package net on a duplicate of fd.
func queueOfDescriptor(fd int) (queue, error) {
	duplicate, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(duplicate), "listener")
	defer file.Close() //nolint:errcheck // package net duplicates it again
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	q, ok := queueOf(ln)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("conn: a listener on %s has no connections", ln.Addr().Network())
	}
	return q, nil
}
