package conn

import (
	"context"
	"maps"
	"net"
	"slices"
	"time"
)

// phase says how far a Server has come on its way to its end. It only grows.
type phase uint8

const (
	// phaseServing: listeners are accepted from. Left by StopAccepting, Shutdown or Close.
	phaseServing phase = iota

	// phaseStopped: no Accept begins, and connections go on. Left by Shutdown or Close.
	phaseStopped

	// phaseDraining: connections are closed when they have nothing left to do. Left when none is
	// left, or when the time for that is over.
	phaseDraining

	// phaseEnded: a connection that is accepted now is closed at once. Terminal.
	phaseEnded
)

// String returns the phase in a word.
func (p phase) String() string {
	switch p {
	case phaseServing:
		return "serving"
	case phaseStopped:
		return "stopped"
	case phaseDraining:
		return "draining"
	case phaseEnded:
		return "ended"
	}
	return "invalid"
}

const (
	// closePatience is how long Close waits for listeners and connections whose own Close is slow.
	closePatience = time.Second

	// expiredPatience is the same for a Shutdown that has run out of time: enough for a busy
	// machine to end what ends at once.
	expiredPatience = 50 * time.Millisecond
)

// StopAccepting closes the listeners; open connections go on. Serve returns. Connections that wait
// in the backlog of a *net.TCPListener, *net.UnixListener, *UnixListener or a listener of
// FromDescriptor are opened first, at most 4096 of each: the kernel would reset them, with requests
// that may have been sent on them. StopAccepting waits for OnPrepare of each and for the listeners'
// Close. Calling it again only waits for the first call.
func (s *Server) StopAccepting() {
	s.stop(s.takeBacklog)
	<-s.closed
}

// stop ends accepting, except for the connections that last takes from each listener before it is
// closed. Listeners are closed side by side, and stop does not wait for them.
func (s *Server) stop(last func(*listening)) {
	s.mu.Lock()
	if s.phase != phaseServing {
		s.mu.Unlock()
		return
	}
	s.phase = phaseStopped
	close(s.stopping)
	listeners := slices.Collect(maps.Keys(s.listeners))
	s.goroutines += len(listeners)
	left := len(listeners) // guarded by mu
	if left == 0 {
		close(s.closed)
	}
	s.mu.Unlock()
	for _, l := range listeners {
		go func() {
			last(l)
			l.close()
			s.mu.Lock()
			defer s.mu.Unlock()
			if left--; left == 0 {
				close(s.closed)
			}
			s.goroutines--
			s.leftLocked()
		}()
	}
}

// Shutdown ends the server and loses no request that has arrived. It stops accepting, closes every
// connection as soon as nothing is left to read and no callback or other work goes on, and returns
// nil when none is left. Two kinds are left to their users, for whom it waits: those with
// EndsItself (see DrainAll), and those that a user reads and that Conn.Drain does not close at
// once. If ctx ends first, Shutdown closes what is left, waits at most 50 ms for that, and returns
// ctx's error. It does not wait for a callback that still runs, or for a listener whose Accept does
// not return after its Close (see OnAcceptError). Do not call Shutdown from a callback, which it
// would wait for.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(s.takeBacklog)
	for _, c := range s.advance(phaseDraining) {
		if c.callbacks.onDrainAll.Load() == nil {
			c.drainApart()
		}
	}
	err := s.await(ctx, &s.empty)
	if err != nil {
		s.closeAll(expiredPatience)
	}
	s.advance(phaseEnded)
	if s.ownGroup {
		if groupErr := s.group.closeWithin(ctx); err == nil {
			err = groupErr
		}
	}
	return err
}

// DrainAll drains every open connection as Conn.Drain does, except those with EndsItself, whose
// users it tells to end them. It is for a server whose users turn out not to end their connections.
// It does not wait, and may be called beside Shutdown.
func (s *Server) DrainAll() {
	for _, c := range s.advance(phaseServing) {
		wanted := c.callbacks.onDrainAll.Load()
		switch {
		case !word(c.state.Load()).isOpen():
		case wanted != nil:
			(*wanted)()
		default:
			c.drainApart()
		}
	}
}

// drainApart is drain for a caller that must not wait for close callbacks.
func (c *Conn) drainApart() {
	if c.callbacks.onRequest.Load() == nil {
		c.spawn(c.drain) // which may run close callbacks
		return
	}
	c.drain()
}

// Close ends the server at once: it closes listeners and connections. It waits at most a second for
// their Close, close callbacks of wrappers included, and for other callbacks only if the server has
// a group of its own. Do not call it from a callback. It always returns nil.
func (s *Server) Close() error {
	s.stop(func(*listening) {})
	s.closeAll(closePatience)
	if s.ownGroup {
		_ = s.group.Close() // its pollers are gone either way
	}
	return nil
}

// advance enters phase p, if it was not reached yet, and returns the connections there are.
func (s *Server) advance(p phase) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == phaseEnded && s.phase != phaseEnded {
		close(s.ended)
	}
	s.phase = max(s.phase, p)
	return slices.Collect(maps.Keys(s.conns))
}

// closeAll enters phaseEnded and closes every connection, side by side since a close callback, or
// the Close of a wrapper, may block. It waits for that, and for the acceptors, at most patience,
// and reports the listeners whose Accept goes on.
func (s *Server) closeAll(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conns := s.advance(phaseEnded)
	s.mu.Lock()
	arriving := slices.Collect(maps.Keys(s.arriving))
	s.goroutines += len(conns) + len(arriving)
	s.mu.Unlock()
	// A wrapper's Close may block: no worker may be in it, since a group that closes waits for its
	// workers.
	for _, nc := range arriving {
		go s.closeOne(*nc)
	}
	for _, c := range conns {
		if !c.raw {
			go s.closeOne(c)
			continue
		}
		s.group.dispatcher.do(func() { s.closeOne(c) })
	}
	if s.await(ctx, &s.quiet) != nil {
		s.reportStuck()
	}
}

// closeOne closes nc on a goroutine that closeAll has counted.
func (s *Server) closeOne(nc net.Conn) {
	defer s.goroutineEnded()
	nc.Close()
}

func (s *Server) goroutineEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goroutines--
	s.leftLocked()
}

// reportStuck tells of the listeners whose Accept goes on although they were closed.
func (s *Server) reportStuck() {
	for _, addr := range s.takeStuck() {
		if s.config.OnAcceptError != nil {
			s.group.dispatcher.do(func() { s.tell(opError("accept", addr, ErrAcceptStuck)) })
		}
	}
}

// takeStuck returns the addresses of the listeners whose Accept goes on, each only once.
func (s *Server) takeStuck() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var addrs []net.Addr
	for l := range s.listeners {
		if l.inAccept.Load() > 0 && !l.stuck {
			l.stuck = true
			addrs = append(addrs, l.ln.Addr())
		}
	}
	return addrs
}

// isQuietLocked reports whether no goroutine accepts, or closes something.
func (s *Server) isQuietLocked() bool { return s.goroutines == 0 }

// isEmptyLocked reports whether the server is quiet and every connection is gone.
func (s *Server) isEmptyLocked() bool {
	return s.isQuietLocked() && len(s.arriving) == 0 && len(s.conns) == 0
}

// leftLocked wakes the waiters for quiet and empty when these are reached.
func (s *Server) leftLocked() {
	if s.isQuietLocked() {
		s.quiet.tell()
	}
	if s.isEmptyLocked() {
		s.empty.tell()
	}
}

// moment is an event that goroutines may wait for. Its methods are called with Server.mu held.
type moment struct {
	reached chan struct{} // nil while nothing waits
}

func (m *moment) wait() <-chan struct{} {
	if m.reached == nil {
		m.reached = make(chan struct{})
	}
	return m.reached
}

func (m *moment) tell() {
	if m.reached != nil {
		close(m.reached)
		m.reached = nil
	}
}

// await waits for m, or until ctx is done.
func (s *Server) await(ctx context.Context, m *moment) error {
	s.mu.Lock()
	reached := m.wait()
	s.leftLocked() // it may be reached now
	s.mu.Unlock()
	select {
	case <-reached:
		return nil
	default:
	}
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
