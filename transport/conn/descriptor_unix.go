//go:build unix && !solaris && !aix

package conn

import (
	"fmt"
	"net"
	"os"
	"syscall"

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

// closeDescriptor closes q, which accepts from a duplicate of base's descriptor, and base. base's
// Close removes whatever file has its name, and cannot be told not to: if that file is not f, base
// stays open.
func closeDescriptor(q queue, base net.Listener, f *socketFile) error {
	if f == nil {
		_ = q.Close()
		return base.Close()
	}
	defer f.close()
	unlock, may := f.lockForUnlink(base.Addr().String())
	defer unlock()
	if may {
		_ = q.Close()
		return base.Close()
	}
	return endSocket(q)
}

// endSocket closes q and ends its socket, although another descriptor of it stays open.
func endSocket(q queue) error {
	last := -1
	if raw, err := q.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { // fails on a closed one
			if duplicate, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
				last = duplicate
			}
		})
	}
	err := q.Close() // before the shutdown, which would fail an Accept with another error
	if last < 0 {
		return err
	}
	defer unix.Close(last)
	_ = unix.Shutdown(last, unix.SHUT_RDWR)  // no effect on BSD and macOS: only the name is gone
	if unix.SetNonblock(last, true) == nil { // base's owner may have changed that
		refuseBacklog(last)
	}
	return err
}

// refuseBacklog closes the connections in the backlog of fd, a non-blocking descriptor.
func refuseBacklog(fd int) {
	for range maxBacklog {
		syscall.ForkLock.RLock() // no child inherits it
		accepted, _, err := unix.Accept(fd)
		if err == nil {
			_ = unix.Close(accepted)
		}
		syscall.ForkLock.RUnlock()
		if err != nil && err != unix.EINTR && err != unix.ECONNABORTED {
			return
		}
	}
}
