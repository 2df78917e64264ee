package mux

import (
	"errors"
	"time"
)

// lingerTime is how long a drained connection may wait for the peer to close its side. Closing at
// once could destroy the last frames under way, if the peer has sent a reply that nobody has read.
const lingerTime = time.Second

// without returns list without cc; list is not changed.
func without(list []*clientConn, cc *clientConn) []*clientConn {
	rest := make([]*clientConn, 0, len(list))
	for _, other := range list {
		if other != cc {
			rest = append(rest, other)
		}
	}
	return rest
}

// drain stops new calls on cc, and has it end when those in flight are over.
func (s *Set) drain(cc *clientConn) {
	s.mu.Lock()
	cc.mu.Lock()
	first := cc.life.drain() // a dead connection is left to forget, which may be about to run
	end := first && cc.freedLocked()
	cc.mu.Unlock()
	if first {
		s.counters.drains.Add(1)
		if _, listed := s.members.conns[cc]; listed {
			s.unlistLocked(cc)
		}
		s.serveLocked()
	}
	s.mu.Unlock()
	if end {
		cc.finish()
	}
}

// unlistLocked hides cc from new calls.
func (s *Set) unlistLocked(cc *clientConn) {
	s.members.active--
	if s.members.active == 0 {
		s.hellos.doublings = 0 // the next connection may reach another peer
	}
	if cc.standing.unshared {
		s.members.unshared--
	}
	if cc.standing.shared {
		s.members.shared--
	}
	if trust(cc.trust.Load()) == doubted {
		s.members.doubted--
	}
	s.spareLocked()
	cc.standing.unshared, cc.standing.shared = false, false
	s.setListLocked(without(*s.list.Load(), cc))
}

// forget removes a connection that has died.
func (s *Set) forget(cc *clientConn, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.members.conns[cc]; !open {
		return
	}
	delete(s.members.conns, cc)
	if !cc.isDraining() {
		s.unlistLocked(cc)
	}
	if !isOwnEnd(cause) {
		s.counters.deaths.Add(1)
		s.cutShortLocked(cc, cause)
	}
	s.serveLocked()
}

// isOwnEnd reports whether a connection ended because this side wanted it to.
func isOwnEnd(cause error) bool {
	return errors.Is(cause, ErrClosed) || errors.Is(cause, errIdle) ||
		errors.Is(cause, errDrained) || errors.Is(cause, errAbandoned) || errors.Is(cause, errUnshared)
}

// isDraining reports whether the connection takes no new calls.
func (cc *clientConn) isDraining() bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.life.draining
}

// isEnding reports whether the last call of a drained connection is over, so that it waits only for
// the peer to close its side.
func (cc *clientConn) isEnding() bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.life.ending
}

// isHalfClosed reports whether this side has closed its half, so that it can send nothing.
func (cc *clientConn) isHalfClosed() bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.life.halfClosed
}

// finish ends a drained connection: when the last frame was written this side closes its half,
// reads what the peer still sends, and closes when the peer has closed too.
func (cc *clientConn) finish() {
	cc.sendCancels() // while this side may still send
	cc.out.AfterFlush(func() {
		cc.mu.Lock()
		cc.life.halfClosed = true
		cc.mu.Unlock()
		half, ok := cc.conn.NetConn().(interface{ CloseWrite() error })
		if !ok || half.CloseWrite() != nil {
			cc.fail(errDrained)
			return
		}
		cc.mu.Lock()
		if cc.life.cause == nil {
			cc.life.linger = cc.set.goroutines.after(lingerTime, func() { cc.fail(errDrained) })
		}
		cc.mu.Unlock()
		cc.watchNow()
	})
}

// Drain has all connections take no new calls and end when those in flight are over, for example
// when an address is no longer to be used. New calls open new connections. Connections that were
// given to Config.Unshared belong to their owner, and go on.
func (s *Set) Drain() {
	s.mu.Lock()
	open := make([]*clientConn, 0, len(s.members.conns))
	for cc := range s.members.conns {
		open = append(open, cc)
	}
	s.mu.Unlock()
	for _, cc := range open {
		s.drain(cc)
	}
}
