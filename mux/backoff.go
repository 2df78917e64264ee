package mux

import "time"

// This file is the pauses between dials to a peer of no use. A dial that fails begins
// one, and so does a connection that ends before its first reply: many a proxy accepts
// when nobody is behind it. Only a reply shows that the peer is well.

// backoffJitter is the part of a pause by which clients differ.
const backoffJitter = 0.5

// failedLocked begins the pause before the next dial, age of which has gone. Calls that have
// nothing else to hope for fail with err.
func (s *Set) failedLocked(err error, age time.Duration) {
	s.lastErr, s.fault = err, err
	s.faults++
	s.failures++
	s.pauseLocked(age)
	s.endDialLocked()
	if s.active == 0 && s.dialling == 0 {
		s.failWaitersLocked(err)
	}
}

// pauseLocked begins a pause, age of which has gone, unless there is one.
func (s *Set) pauseLocked(age time.Duration) {
	if s.pause != nil || s.closed {
		return
	}
	pause := s.config.BackoffMin << min(s.failures-1, 16)
	if pause <= 0 || pause > s.config.BackoffMax {
		pause = s.config.BackoffMax
	}
	s.pause = s.goroutines.after(max(jitter(pause, backoffJitter)-age, 0), s.endPause)
	s.publishLocked()
}

// endPause ends the pause.
func (s *Set) endPause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = nil
	s.publishLocked()
	s.endDialLocked()
	s.serveLocked()
}

// recovered ends the row of failures, and a pause: a connection had its first reply.
func (s *Set) recovered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.lastErr = 0, nil
	s.goroutines.stop(s.pause)
	s.pause = nil
	s.publishLocked()
	s.endDialLocked()
	s.serveLocked()
}

// longLife is how old a connection is at most that counts as cut short.
const longLife = time.Second

// cutShortLocked counts a connection that ended, not by this side's will, as a failed dial if
// no reply came on it. One that has lived longer than any pause, or so long that somebody
// had it, did not: the next dial comes late enough.
func (s *Set) cutShortLocked(cc *clientConn, cause error) {
	if cc.replied.Load() {
		return
	}
	if age := time.Since(cc.born); age < min(s.config.BackoffMax, longLife) {
		s.failedLocked(cause, age)
	}
}

// peerDrained counts a connection that the peer drains without a call on it as cut short.
func (s *Set) peerDrained(cc *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cc.load.Load() == 0 {
		s.cutShortLocked(cc, errPeerDrains)
		s.serveLocked()
	}
}
