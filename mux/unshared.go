package mux

import (
	"time"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/transport/conn"
)

// This file is how a connection whose peer does not share it leaves the set. Its one call shows
// what the peer is. When that call has ended, and nothing is in flight on the connection,
// Config.Unshared gets it. The set counts the connection until it is closed, since the set limits
// their number, and since a failed dial means less while another connection works.

// release is called when a call that had a place on the connection has ended.
func (cc *clientConn) release() {
	cc.mu.Lock()
	cc.places.users--
	inVain := cc.isWatchedInVainLocked()
	cc.mu.Unlock()
	if inVain {
		cc.kick() // the watcher leaves
	}
	cc.handOverIfSpare()
}

// handOverIfSpare hands the connection over, at once or when its last request was written, if it is
// not shared and no longer used. If the peer may still answer a oneway, the connection ends
// instead: the next call would take that answer for its own.
func (cc *clientConn) handOverIfSpare() {
	if mode(cc.mode.Load()) != modeUnshared {
		return
	}
	cc.mu.Lock()
	spare, answerable := cc.isSpareLocked(), cc.oneways.last != 0
	cc.mu.Unlock()
	switch {
	case !spare:
	case answerable:
		cc.set.drain(cc)
	default:
		cc.out.AfterFlush(cc.handOver)
	}
}

// isUnusedLocked reports whether no caller uses an unshared connection, and none will.
func (cc *clientConn) isUnusedLocked() bool {
	return mode(cc.mode.Load()) == modeUnshared && cc.life.cause == nil && !cc.life.draining && cc.places.users == 0
}

// isSpareLocked reports whether nothing in this package uses the connection, and nothing will.
func (cc *clientConn) isSpareLocked() bool {
	return cc.isUnusedLocked() && cc.roles.leader == nil && !cc.roles.watched
}

// isWatchedInVainLocked reports whether only a waiting watcher keeps the connection here.
func (cc *clientConn) isWatchedInVainLocked() bool {
	return !cc.polled && cc.roles.watched && cc.isUnusedLocked()
}

// noteOneway is called before a oneway is queued. A stock peer may answer it with an exception.
func (cc *clientConn) noteOneway(c *Call) {
	if mode(cc.mode.Load()) == modeShared {
		return
	}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.oneways.last = c.seqID
}

// handOver gives the connection away. If the watcher has it again, the watcher hands it over later.
func (cc *clientConn) handOver() {
	s := cc.set
	if !s.goroutines.enter() {
		return // the closed set has ended it
	}
	defer s.goroutines.leave()
	if s.config.Unshared == nil {
		cc.fail(errUnshared)
		return
	}
	if !s.giveUp(cc) {
		return
	}
	whole := cc.out.Close(errUnshared) // or a write has failed, of which fail is about to be told
	c := cc.conn
	_ = c.SetOnReadable(nil) // fails where there is no poller, as it did before
	c.SetOnDisconnect(nil)
	_ = c.SetDeadline(time.Time{}) // fails on a closed connection, whose owner will see that
	_ = c.SetWriteTimeout(s.config.WriteTimeout)
	if c.AddCloseCallback(s.endedApart) != nil {
		s.endedApart(c)
	}
	if !whole || cc.arrived.partial.Load() {
		s.counters.deaths.Add(1)
		_ = c.Close() // a frame was cut short, or has begun that belongs to no call
		return
	}
	if failure := callback.Apart(func() { s.config.Unshared(c) }); failure != nil {
		_ = c.Close()
	}
	s.handedOver(c)
}

// handedOver records that Config.Unshared has had c, and fails calls that waited only for that.
func (s *Set) handedOver(c *conn.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.members.apart[c]; !open {
		return
	}
	s.members.apart[c] = true
	s.serveLocked()
}

// giveUp takes cc out of the set and counts it as handed over. If cc is in use or has ended, giveUp
// does nothing and reports false.
func (s *Set) giveUp(cc *clientConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.members.conns[cc]; !open || s.closed {
		return false // the closed set is about to end it
	}
	cc.mu.Lock()
	spare := cc.isSpareLocked() && cc.life.die(errUnshared)
	cc.mu.Unlock()
	if !spare {
		return false
	}
	delete(s.members.conns, cc)
	s.members.apart[cc.conn] = false
	s.unlistLocked(cc)
	return true
}

// Opens reports whether the set would open a connection at once for a call that finds no place now.
// It is for callers that have connections elsewhere but prefer not to use them.
func (s *Set) Opens() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayDialLocked(nil)
}

// endedApart is called when c, which was handed over, has ended.
func (s *Set) endedApart(c *conn.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	delete(s.members.apart, c)
	s.publishLocked()
	s.serveLocked()
}
