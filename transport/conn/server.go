package conn

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/kiteline/kiteline/internal/callback"
)

// ServerConfig says what a Server does. It is copied by NewServer.
type ServerConfig struct {
	// Config is for every connection. Without an OnRequest it is up to
	// OnConnect, or whoever it tells, to read.
	Config

	// Group is where the connections live. Nil gives the server one of its
	// own, which ends with it.
	Group *Group

	// Acceptors is how many goroutines accept from each listener; zero or less
	// means one. More than one pays where connections come and go fast.
	Acceptors int

	// OnAcceptError is called at most once per second with the error of an Accept that is
	// tried again after a pause of half a second at most. These are the errors of system
	// calls, such as a lack of descriptors or a connection that was reset before it was
	// accepted, and each net.Error that is temporary or a timeout. May be nil.
	OnAcceptError func(err error)
}

// Server accepts connections and runs OnRequest on them.
type Server struct {
	config   ServerConfig // immutable
	group    *Group       // immutable
	ownGroup bool         // immutable: group ends with the server

	stopping  chan struct{}  // closed when no more connections are accepted
	acceptors sync.WaitGroup // goroutines that accept, Serve's included; added to with mu held, before stopped or with it

	// guarded by mu
	mu        sync.Mutex
	stopped   bool                       // stopping is closed
	reported  time.Time                  // when OnAcceptError was last called
	listeners map[*net.Listener]struct{} // of each Serve its own: a listener's type may not be comparable
	conns     map[*Conn]struct{}
	empty     chan struct{} // non-nil while somebody waits for conns to be empty
}

// NewServer makes a server. It fails only where a Group of its own cannot be
// started.
func NewServer(cfg ServerConfig) (*Server, error) {
	s := &Server{
		config:    cfg,
		group:     cfg.Group,
		stopping:  make(chan struct{}),
		listeners: make(map[*net.Listener]struct{}),
		conns:     make(map[*Conn]struct{}),
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

// Serve accepts from ln, which it owns from then on, until StopAccepting,
// Shutdown or Close, and then returns nil; or until ln fails for good, and
// returns its error: EBADF, EINVAL, ENOTSOCK or EOPNOTSUPP of a system call, or an error that
// OnAcceptError is not called with. It may be called several times, for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	if !s.addListener(&ln) {
		return nil
	}
	defer s.acceptors.Done()
	defer s.removeListener(&ln)
	for range s.config.Acceptors - 1 {
		s.acceptors.Add(1) // Serve's own share keeps it above zero
		go func() {
			defer s.acceptors.Done()
			if err := s.accept(ln); err != nil {
				_ = ln.Close() // so that Serve's own loop ends too
			}
		}()
	}
	return s.accept(ln)
}

// StopAccepting closes the listeners; open connections go on. Serve returns. Connections that the kernel
// has made and nobody has accepted are opened first, 4096 at most: it would reset them, with requests that may have
// been sent on them. Only the first call does anything.
func (s *Server) StopAccepting() { s.stop(s.takeBacklog) }

// stop has no more connections accepted, but for what last takes from each listener before it is closed.
func (s *Server) stop(last func(net.Listener)) {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return
	}
	s.stopped = true
	close(s.stopping)
	s.acceptors.Add(1)
	defer s.acceptors.Done()
	listeners := slices.Collect(maps.Keys(s.listeners))
	s.mu.Unlock()
	for _, ln := range listeners {
		last(*ln)
		_ = (*ln).Close()
	}
}

// Shutdown ends the server and loses no request that has arrived: it stops
// accepting, closes every connection that has nothing left to read and no callback running,
// now or as soon as that is so, and returns nil when none is left. When ctx ends first, what is
// left is closed and ctx's error returned; a callback that still runs then is waited for only
// if the server has a group of its own. It must not be called from a callback, for which it
// would wait.
func (s *Server) Shutdown(ctx context.Context) error {
	s.StopAccepting()
	s.acceptors.Wait() // the last connection has been opened then
	for _, c := range s.snapshot() {
		c.drain()
	}
	err := s.awaitEmpty(ctx)
	if err != nil {
		s.closeAll()
	}
	s.finish()
	return err
}

// Close ends the server at once: listeners and connections are closed,
// callbacks that run are waited for as in Shutdown. Nor must it be called from one.
func (s *Server) Close() error {
	s.stop(func(net.Listener) {})
	s.acceptors.Wait() // as in Shutdown
	s.closeAll()
	s.finish()
	return nil
}

// ConnCount returns how many connections are open.
func (s *Server) ConnCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// accept takes connections from ln until the server stops, or ln fails.
func (s *Server) accept(ln net.Listener) error {
	pause := acceptPause{}
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil && nc == nil:
			return opError("accept", ln.Addr(), errNoConn)
		case err == nil:
			pause.reset()
			s.open(nc)
		case s.isStopped():
			return nil
		case !isTransient(err):
			return opError("accept", ln.Addr(), err)
		default:
			s.report(opError("accept", ln.Addr(), err))
			if !pause.wait(s.stopping) {
				return nil
			}
		}
	}
}

// open makes a connection of nc.
func (s *Server) open(nc net.Conn) {
	c, err := newConn(nc, &s.config.Config, s.group, s)
	if err != nil {
		s.report(err) // no poller takes it; nc is closed
		return
	}
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	c.start()
	if err := c.Err(); isArmError(err) {
		s.report(err) // the kernel watches no more descriptors; c is closed
	}
}

// isArmError reports whether err is that of a connection that could not be armed.
func isArmError(err error) bool {
	var own *OpError
	return errors.As(err, &own) && own.Op == "arm"
}

// forget implements owner.
func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

func (s *Server) addListener(ln *net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		_ = (*ln).Close()
		return false
	}
	s.listeners[ln] = struct{}{}
	s.acceptors.Add(1)
	return true
}

func (s *Server) removeListener(ln *net.Listener) {
	_ = (*ln).Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

// report tells OnAcceptError of err, unless it was told within the last
// second by any acceptor.
func (s *Server) report(err error) {
	if s.config.OnAcceptError == nil {
		return
	}
	s.mu.Lock()
	now := time.Now()
	due := now.Sub(s.reported) >= time.Second
	if due {
		s.reported = now
	}
	s.mu.Unlock()
	if !due {
		return
	}
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

func (s *Server) snapshot() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

func (s *Server) closeAll() {
	for _, c := range s.snapshot() {
		_ = c.Close()
	}
}

// awaitEmpty waits until every connection is gone, or ctx is done.
func (s *Server) awaitEmpty(ctx context.Context) error {
	s.mu.Lock()
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish ends a group of the server's own.
func (s *Server) finish() {
	if s.ownGroup {
		_ = s.group.Close() // its pollers are gone either way
	}
}

// acceptPause is the growing pause between attempts while accept fails.
type acceptPause struct {
	next time.Duration
}

const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = 500 * time.Millisecond // so that a server serves again within a second
)

func (p *acceptPause) reset() { p.next = 0 }

// wait pauses, and reports false if stop came meanwhile.
func (p *acceptPause) wait(stop <-chan struct{}) bool {
	p.next = min(max(2*p.next, firstAcceptPause), maxAcceptPause)
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}
