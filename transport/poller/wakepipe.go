//go:build unix

package poller

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// wakePipe is the waker of a kqueue, since not all systems have EVFILT_USER. Tests open it on
// every system that has pipes.
type wakePipe struct {
	read, send int // descriptors that neither block nor outlive an exec
}

// openWakePipe opens a pipe. It holds ForkLock, so that no child process is forked between the
// system calls: not all systems have pipe2(2).
func openWakePipe() (wakePipe, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil {
		return wakePipe{}, os.NewSyscallError("pipe", err)
	}
	p := wakePipe{read: ends[0], send: ends[1]}
	var err error
	for _, fd := range ends {
		unix.CloseOnExec(fd)
		err = errors.Join(err, os.NewSyscallError("fcntl", unix.SetNonblock(fd, true)))
	}
	if err != nil {
		p.close()
	}
	return p, err
}

// wake makes the reading end readable.
func (p wakePipe) wake() {
	for {
		// A full pipe (EAGAIN) holds a wake that the loop has not seen yet.
		if _, err := unix.Write(p.send, []byte{0}); err != unix.EINTR {
			return
		}
	}
}

// drain empties the pipe, so that it never fills up and each wake is an edge.
func (p wakePipe) drain() {
	var rest [64]byte
	for {
		n, err := unix.Read(p.read, rest[:])
		if err != unix.EINTR && n < len(rest) {
			return
		}
	}
}

func (p wakePipe) close() {
	unix.Close(p.read)
	unix.Close(p.send)
}
