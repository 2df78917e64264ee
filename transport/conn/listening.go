package conn

import (
	"net"
	"sync"
	"sync/atomic"
)

// listening is a listener that a Server accepts from, and the owner of its connections.
type listening struct {
	server *Server      // immutable
	ln     net.Listener // immutable
	guard  *socketFile  // immutable; nil except for a *net.UnixListener
	result chan error   // immutable; holds Serve's result: the first error, or nil at the end

	closing  sync.Once
	inAccept atomic.Int32 // acceptors that are inside Accept

	// guarded by Server.mu
	acceptors int
	stuck     bool // it was reported that Accept goes on after Close
}

// accept is ln's Accept.
func (l *listening) accept() (net.Conn, error) {
	l.inAccept.Add(1)
	defer l.inAccept.Add(-1)
	return l.ln.Accept()
}

// close closes ln, once.
func (l *listening) close() {
	l.closing.Do(func() {
		if unix, ok := l.ln.(*net.UnixListener); ok {
			_ = closeGuarded(unix, l.guard)
			return
		}
		_ = l.ln.Close()
	})
}

// forget is called when c, which l has accepted, has been torn down.
func (l *listening) forget(c *Conn) { l.server.forget(c) }

// localAddr returns the listener's address where the socket does not know it, otherwise nil: the
// kernel knows a UnixListener's socket only by its temporary name.
func (l *listening) localAddr() net.Addr {
	if unix, ok := l.ln.(*UnixListener); ok {
		return unix.Addr()
	}
	return nil
}

// end makes Serve return err, unless Serve already has its result.
func (l *listening) end(err error) {
	select {
	case l.result <- err:
	default:
	}
}

// addListener begins to serve ln. It closes ln and reports false if the server has stopped.
func (s *Server) addListener(ln net.Listener) (*listening, bool) {
	acceptors := max(s.config.Acceptors, 1)
	l := &listening{server: s, ln: ln, result: make(chan error, 1), acceptors: acceptors}
	if unix, ok := ln.(*net.UnixListener); ok {
		l.guard = fileAt(unix.Addr().String())
	}
	s.mu.Lock()
	stopped := s.phase != phaseServing
	if !stopped {
		s.listeners[l] = struct{}{}
		s.goroutines += acceptors
	}
	s.mu.Unlock()
	if stopped {
		l.close()
	}
	return l, !stopped
}

// acceptFrom is the goroutine of an acceptor. It records its error before it closes the listener,
// since the close ends the other acceptors with errors that say nothing.
func (s *Server) acceptFrom(l *listening) {
	defer s.acceptorEnded(l)
	if err := s.accept(l); err != nil {
		l.end(err)
		l.close()
	}
}

// acceptorEnded forgets an acceptor, and with the last one the listener. While the server serves,
// it closes the listener too, since nothing else would. Otherwise stop does, after it has taken the
// backlog.
func (s *Server) acceptorEnded(l *listening) {
	s.mu.Lock()
	l.acceptors--
	last := l.acceptors == 0
	serving := s.phase == phaseServing
	if last {
		delete(s.listeners, l)
	}
	s.goroutines--
	s.leftLocked()
	s.mu.Unlock()
	if !last {
		return
	}
	if serving {
		l.close()
	}
	l.end(nil)
}
