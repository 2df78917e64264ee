package conn

import (
	"net"
	"syscall"
	"time"
)

const (
	// maxBacklog is how many connections a server that stops still accepts, however many go on calling: as many
	// as a backlog has by default (net.core.somaxconn).
	maxBacklog = 4096

	// backlogWait bounds an accept whose connection another acceptor has taken.
	backlogWait = 5 * time.Millisecond
)

// takeBacklog opens the connections in ln's backlog. A client whose connection the kernel resets cannot tell
// whether its request was handled; one that finds nobody listening can.
func (s *Server) takeBacklog(ln net.Listener) {
	queue, ok := ln.(interface {
		syscall.Conn
		SetDeadline(t time.Time) error
	})
	if !ok {
		return
	}
	raw, err := queue.SyscallConn()
	if err != nil {
		return // it is closed
	}
	for n := 0; n < maxBacklog && hasBacklog(raw); n++ {
		_ = queue.SetDeadline(time.Now().Add(backlogWait)) // fails on a closed one, as Accept does
		nc, err := ln.Accept()
		switch {
		case err == nil && nc != nil:
			s.open(nc)
		case !isTransient(err): // a timeout is transient
			return
		}
	}
}
