//go:build unix

package conn

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// rawSocket is a TCP or Unix stream socket whose descriptor is read and
// written directly. The net.Conn keeps the descriptor alive: every access runs
// inside one of its RawConn's callbacks, which hold a reference (see
// internal/poll.FD), so a concurrent Close cannot have it reused meanwhile.
//
// Nothing but the system call runs in a callback: a Close there would wait for the callback's own
// reference forever. The callbacks are made once, since a literal at the call would allocate twice
// per call.
type rawSocket struct {
	net.Conn
	raw    syscall.RawConn
	kernel syscalls

	// owned by the goroutine inside tryRead or waitRead
	in         []byte // where to read to
	inCount    int
	inErr      error
	tryReadFD  func(fd uintptr)
	waitReadFD func(fd uintptr) bool

	// owned by the goroutine inside tryWrite or tryWritev
	out         []byte   // what to write
	outVec      [][]byte // the same in several slices
	outCount    int
	outErr      error
	tryWriteFD  func(fd uintptr)
	tryWritevFD func(fd uintptr)

	peekMu  sync.Mutex
	peeked  [1]byte          // guarded by peekMu
	peekErr error            // guarded by peekMu
	peekFD  func(fd uintptr) // immutable after newSocket
}

// newSocket returns a rawSocket for exactly *net.TCPConn and stream
// *net.UnixConn, whose Read is nothing but read(2), and reports whether it did;
// any other net.Conn, a wrapper around those included, is taken as it is.
func newSocket(nc net.Conn) (socket, bool) {
	var raw syscall.RawConn
	var err error
	switch c := nc.(type) {
	case *net.TCPConn:
		raw, err = c.SyscallConn()
	case *net.UnixConn:
		if c.LocalAddr().Network() != "unix" {
			return plainSocket{nc}, false
		}
		raw, err = c.SyscallConn()
	default:
		return plainSocket{nc}, false
	}
	if err != nil {
		return plainSocket{nc}, false
	}
	s := &rawSocket{Conn: nc, raw: raw, kernel: (*kernel)(nil)}
	s.tryReadFD, s.waitReadFD, s.peekFD = s.readOnce, s.readReady, s.peekOnce
	s.tryWriteFD, s.tryWritevFD = s.writeOnce, s.writevOnce
	return s, true
}

// readOnce is one read(2).
func (s *rawSocket) readOnce(fd uintptr) {
	for {
		n, err := s.kernel.read(fd, s.in)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			s.inCount, s.inErr = 0, errWouldBlock
		case err != nil:
			s.inCount, s.inErr = 0, os.NewSyscallError("recvfrom", err)
		case n == 0:
			s.inCount, s.inErr = 0, io.EOF
		default:
			s.inCount, s.inErr = n, nil
		}
		return
	}
}

// readReady is readOnce as RawConn.Read wants it: false parks the goroutine
// until the socket is readable. It reads before it parks, since RawConn.Read
// forgets a readiness that was reported before the call.
func (s *rawSocket) readReady(fd uintptr) bool {
	s.readOnce(fd)
	return s.inErr != errWouldBlock
}

// tryRead goes through Control, not Read: Read would fail at once on a read deadline that has
// passed, although tryRead does not wait.
func (s *rawSocket) tryRead(p []byte) (int, error) {
	s.in = p
	if err := s.raw.Control(s.tryReadFD); err != nil {
		s.in = nil
		return 0, err
	}
	s.in = nil
	return s.inCount, s.inErr
}

func (s *rawSocket) waitRead(p []byte) (int, error) {
	s.in = p
	if err := s.raw.Read(s.waitReadFD); err != nil {
		s.in = nil
		return 0, err
	}
	s.in = nil
	return s.inCount, s.inErr
}

// writeOnce is one sendto(2).
func (s *rawSocket) writeOnce(fd uintptr) {
	n, err := s.kernel.write(fd, s.out)
	for err == unix.EINTR {
		n, err = s.kernel.write(fd, s.out)
	}
	s.wrote("sendto", n, err)
}

// writevOnce is one sendmsg(2).
func (s *rawSocket) writevOnce(fd uintptr) {
	n, err := s.kernel.writev(fd, s.outVec)
	for err == unix.EINTR {
		n, err = s.kernel.writev(fd, s.outVec)
	}
	s.wrote("sendmsg", n, err)
}

// wrote keeps the result of a system call.
func (s *rawSocket) wrote(call string, n int, err error) {
	switch err {
	case nil:
		s.outCount, s.outErr = n, nil
	case unix.EAGAIN:
		s.outCount, s.outErr = 0, errWouldBlock
	default:
		s.outCount, s.outErr = 0, os.NewSyscallError(call, err)
	}
}

func (s *rawSocket) tryWrite(p []byte) (int, error) {
	s.out = p
	if err := s.raw.Control(s.tryWriteFD); err != nil {
		s.out = nil
		return 0, err
	}
	s.out = nil
	return s.outCount, s.outErr
}

func (s *rawSocket) tryWritev(vec [][]byte) (int, error) {
	s.outVec = vec
	if err := s.raw.Control(s.tryWritevFD); err != nil {
		s.outVec = nil
		return 0, err
	}
	s.outVec = nil
	return s.outCount, s.outErr
}

func (s *rawSocket) waitWrite(vec [][]byte) (int64, error) { return s.kernel.writeAll(s.Conn, vec) }

func (s *rawSocket) netConn() net.Conn { return s.Conn }

func (s *rawSocket) withFD(f func(fd uintptr)) error { return s.raw.Control(f) }

// peek asks for one byte with MSG_PEEK, which leaves it in the socket.
func (s *rawSocket) peek() error {
	s.peekMu.Lock()
	defer s.peekMu.Unlock()
	if err := s.raw.Control(s.peekFD); err != nil {
		return err
	}
	return s.peekErr
}

// peekOnce is one recvfrom(2).
func (s *rawSocket) peekOnce(fd uintptr) {
	for {
		n, err := s.kernel.peek(fd, s.peeked[:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			s.peekErr = errWouldBlock
		case err != nil:
			s.peekErr = os.NewSyscallError("recvfrom", err)
		case n == 0:
			s.peekErr = io.EOF
		default:
			s.peekErr = nil
		}
		return
	}
}

// arrivedIn returns how many bytes wait in a socket.
func arrivedIn(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), requestArrived)
	if err != nil {
		return 0
	}
	return n
}
