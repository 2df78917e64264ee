package conn

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/windows"
)

// newSocket takes every net.Conn as it is, since a socket that belongs to a completion port reports
// no readiness. A TCP socket, though, can be looked at and read without waiting.
func newSocket(nc net.Conn) (socket, bool) {
	plain := plainSocket{nc}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return plain, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return plain, false
	}
	s := &polledSocket{plainSocket: plain, raw: raw}
	s.lookFD, s.takeFD = s.look, s.take
	return s, false
}

// polledSocket is a plainSocket that can peek, and read what is there.
type polledSocket struct {
	plainSocket
	raw syscall.RawConn

	// immutable after newSocket: look and take, stored since a method value allocates
	lookFD func(fd uintptr)
	takeFD func(fd uintptr)

	// owned by the goroutine inside tryRead
	in      []byte      // where to read to
	reading socketQuery // of take
	inCount int
	inErr   error

	lookMu sync.Mutex
	query  socketQuery // guarded by lookMu
	found  error       // guarded by lookMu: look's result
}

// withFD calls f while the handle stays open.
func (s *polledSocket) withFD(f func(fd uintptr)) error { return s.raw.Control(f) }

// arrivedIn returns how many bytes wait in a socket.
func arrivedIn(fd uintptr) int {
	n, err := new(socketQuery).countUnread(windows.Handle(fd))
	if err != nil {
		return 0
	}
	return int(n)
}

// tryRead bypasses package net, whose Read fails at once on a read deadline that has passed. What
// peek has seen stays, since no other goroutine reads.
func (s *polledSocket) tryRead(p []byte) (int, error) {
	if err := s.peek(); err != nil {
		return 0, err
	}
	s.in = p
	err := s.raw.Control(s.takeFD)
	s.in = nil
	if err != nil {
		return 0, err
	}
	return s.inCount, s.inErr
}

// take reads once while the handle is held open.
func (s *polledSocket) take(fd uintptr) {
	s.inCount, s.inErr = s.reading.receive(windows.Handle(fd), s.in)
	if s.inCount == 0 && s.inErr == nil {
		s.inErr = io.EOF
	}
}

// peek asks for the number of bytes and for the peer's end, and reads nothing: a read with MSG_PEEK
// would wait if another goroutine took the bytes first.
func (s *polledSocket) peek() error {
	s.lookMu.Lock()
	defer s.lookMu.Unlock()
	if err := s.raw.Control(s.lookFD); err != nil {
		return err
	}
	return s.found
}

// look is peek while the handle is held open. The caller holds lookMu.
func (s *polledSocket) look(fd uintptr) {
	handle := windows.Handle(fd)
	unread, err := s.query.countUnread(handle)
	if err != nil || unread > 0 {
		s.found = err
		return
	}
	events, err := s.query.poll(handle)
	switch {
	case err != nil:
		s.found = err
	case events&pollErr != 0:
		s.found = os.NewSyscallError("wsapoll", windows.WSAECONNRESET)
	case events&pollHup == 0:
		s.found = errWouldBlock
	default:
		// Bytes may have come before the end, and after the first look.
		if unread, s.found = s.query.countUnread(handle); unread == 0 && s.found == nil {
			s.found = io.EOF
		}
	}
}
