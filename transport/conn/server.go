package conn

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/kiteline/kiteline/internal/callback"
)

// ServerConfig says what a Server does. It is copied by NewServer. The zero value is useful with an
// OnRequest.
type ServerConfig struct {
	// Config applies to every connection. Without an OnRequest, OnConnect or a goroutine that it
	// starts must read.
	Config

	// Group holds the connections. Nil means one of the server's own, which ends with it.
	Group *Group

	// Acceptors is how many goroutines accept from each listener. Zero or less means one. More than
	// one pays where connections come and go fast.
	Acceptors int

	// OnAcceptError, unless nil, is called at most once per second, with the error of an Accept
	// that is tried again after a pause of at most half a second, or of a connection that no poller
	// takes. Accept is tried again after errors of system calls, such as a lack of descriptors or a
	// connection that was reset before it was accepted, and after each net.Error that is temporary
	// or a timeout.
	//
	// It is also called with an error that matches ErrAcceptStuck, once for each listener that
	// Shutdown or Close gives up because its Accept does not return.
	OnAcceptError func(err error)
}

// Server accepts connections and runs OnRequest on them.
type Server struct {
	config   ServerConfig // immutable
	group    *Group       // immutable
	ownGroup bool         // immutable: group ends with the server

	// immutable, closed with mu held
	stopping chan struct{} // closed when phase leaves phaseServing
	closed   chan struct{} // closed when, after that, every listener is closed
	ended    chan struct{} // closed when phase is phaseEnded

	// guarded by mu
	mu       sync.Mutex
	phase    phase
	reported time.Time // when OnAcceptError was last called

	accepted, acceptErrors uint64 // as in ServerStats

	listeners map[*listening]struct{}
	conns     map[*Conn]struct{}
	arriving  map[*net.Conn]struct{} // accepted wrappers that are not in conns yet

	goroutines int    // that accept, or close a listener or a connection
	quiet      moment // goroutines is zero
	empty      moment // and there is no connection
}

// NewServer makes a server. It fails only if a Group of its own cannot be started.
func NewServer(cfg ServerConfig) (*Server, error) {
	s := &Server{
		config:    cfg,
		group:     cfg.Group,
		stopping:  make(chan struct{}),
		closed:    make(chan struct{}),
		ended:     make(chan struct{}),
		listeners: make(map[*listening]struct{}),
		conns:     make(map[*Conn]struct{}),
		arriving:  make(map[*net.Conn]struct{}),
	}
	if s.group == nil {
		g, err := NewGroup(GroupConfig{})
		if err != nil {
			return nil, err
		}
		s.group, s.ownGroup = g, true
	}
	return s, nil
}

// Serve accepts from ln until StopAccepting, Shutdown or Close, and then returns nil. From the call
// on it owns ln, which it closes even if the server has already stopped. If ln fails for good,
// Serve returns the first error. All errors of system calls are tried again, except EBADF, EINVAL,
// ENOTSOCK and EOPNOTSUPP, and so is each net.Error that is temporary or a timeout; any other error
// is for good. Serve may be called several times, for several listeners.
//
// If ln's Accept does not return after ln's Close, Serve returns nil when Shutdown or Close ends
// the server.
func (s *Server) Serve(ln net.Listener) error {
	l, ok := s.addListener(ln)
	if !ok {
		return nil
	}
	for range max(s.config.Acceptors, 1) {
		go s.acceptFrom(l)
	}
	select {
	case err := <-l.result:
		return err
	case <-s.ended:
		return nil
	}
}

// ConnCount returns how many connections are open or arriving: Conns and Arriving of Stats.
func (s *Server) ConnCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) + len(s.arriving)
}

// accept takes connections from l until the server stops, or l fails.
func (s *Server) accept(l *listening) error {
	ln := l.ln
	pause := acceptPause{}
	for !s.isStopped() {
		nc, err := l.accept()
		switch {
		case err == nil && nc == nil:
			return opError("accept", ln.Addr(), errNoConn)
		case err == nil:
			pause.reset()
			s.open(l, nc)
		case s.isStopped():
			return nil
		case !isTransient(err):
			return opError("accept", ln.Addr(), err)
		default:
			s.report(opError("accept", ln.Addr(), err))
			pause.wait(s.stopping)
		}
	}
	return nil
}

// open makes a connection of nc, which l accepted. Only a plain socket is opened in place: the
// methods of a wrapper may wait for the peer, as RemoteAddr does where it reads a header.
func (s *Server) open(l *listening, nc net.Conn) {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		s.openNow(l, nc, nil)
		return
	}
	s.mu.Lock()
	ended := s.phase == phaseEnded
	if !ended {
		s.arriving[&nc] = struct{}{}
	}
	s.mu.Unlock()
	if ended {
		nc.Close()
		return
	}
	go s.openNow(l, nc, &nc) // not on a worker: a group that closes would wait for it
}

// openNow makes a connection of nc and starts it. It removes arriving, unless that is nil, from the
// wrappers that are arriving.
func (s *Server) openNow(l *listening, nc net.Conn, arriving *net.Conn) {
	c, err := newConn(nc, &s.config.Config, s.group, l)
	if err != nil {
		s.report(err) // no poller takes it; nc is closed
	}
	s.mu.Lock()
	s.accepted++
	delete(s.arriving, arriving)
	if err != nil {
		s.leftLocked()
		s.mu.Unlock()
		return
	}
	p := s.phase
	if p != phaseEnded {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if p == phaseEnded {
		_ = c.Close()
		c.open() // tears it down, and tells forget
		return
	}
	c.start()
	if p == phaseDraining && c.callbacks.onDrainAll.Load() == nil {
		c.drain()
	}
	if err := c.Err(); isArmError(err) {
		s.report(err) // the kernel watches no more descriptors; c is closed
	}
}

// isArmError reports whether err says that a connection could not be armed.
func isArmError(err error) bool {
	var own *OpError
	return errors.As(err, &own) && own.Op == "arm"
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.leftLocked()
}

// report tells OnAcceptError of err, unless it was told within the last
// second by any acceptor.
func (s *Server) report(err error) {
	s.mu.Lock()
	s.acceptErrors++
	now := time.Now()
	due := s.config.OnAcceptError != nil && now.Sub(s.reported) >= time.Second
	if due {
		s.reported = now
	}
	s.mu.Unlock()
	if due {
		s.tell(err)
	}
}

// tell calls OnAcceptError.
func (s *Server) tell(err error) {
	if failure := callback.Apart(func() { s.config.OnAcceptError(err) }); failure != nil {
		s.config.tellPanic(nil, &PanicError{Value: failure.Value, Stack: failure.Stack})
	}
}

func (s *Server) isStopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// acceptPause is the pause between attempts while accept fails; it grows.
type acceptPause struct {
	next time.Duration
}

const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = 500 * time.Millisecond // so that a server serves again within a second
)

func (p *acceptPause) reset() { p.next = 0 }

// wait pauses, until stop comes.
func (p *acceptPause) wait(stop <-chan struct{}) {
	p.next = min(max(2*p.next, firstAcceptPause), maxAcceptPause)
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	}
}
