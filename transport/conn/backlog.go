package conn

import (
	"net"
	"syscall"
	"time"
)

const (
	// maxBacklog limits the connections that a stopping server still accepts from a listener,
	// however many keep coming. It is the default length of a backlog (net.core.somaxconn).
	maxBacklog = 4096

	// backlogWait bounds an accept whose connection another acceptor has taken.
	backlogWait = 5 * time.Millisecond
)

// queue is a listener whose backlog can be looked at and emptied without waiting.
type queue interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
}

// queueOf returns ln as a queue if it is exactly one of package net's or of this package's
// listeners. A wrapper has the methods of the listener that it embeds, but its own Accept may wait
// for something else, such as a header or the end of another connection.
func queueOf(ln net.Listener) (queue, bool) {
	switch ln := ln.(type) {
	case *net.TCPListener:
		return ln, true
	case *net.UnixListener:
		return ln, true
	case *UnixListener:
		return ln, true
	case *descriptorListener:
		return ln, true
	}
	return nil, false
}

// takeBacklog opens the connections in l's backlog. A client whose connection the kernel resets
// cannot tell whether its request was handled; a refused one can. Where the listener's name can be
// withdrawn first, no connection comes between the last look and the listener's end.
func (s *Server) takeBacklog(l *listening) {
	queue, ok := queueOf(l.ln)
	if !ok {
		return
	}
	if unix, ok := l.ln.(*UnixListener); ok {
		unix.withdraw()
	}
	raw, err := queue.SyscallConn()
	if err != nil {
		return // it is closed
	}
	for n := 0; n < maxBacklog && hasBacklog(raw); n++ {
		_ = queue.SetDeadline(time.Now().Add(backlogWait)) // fails on a closed one, as Accept does
		nc, err := queue.Accept()
		switch {
		case err == nil && nc != nil:
			s.open(l, nc)
		case !isTransient(err): // a timeout is transient
			return
		}
	}
}
