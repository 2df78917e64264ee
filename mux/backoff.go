package mux

import "time"

// This file is the pauses between dials to a peer that is of no use now. A failed dial begins one,
// and so does a connection that ends before its first reply: many a proxy accepts when its server
// is down, and a server at its connection limit accepts further connections and closes them. Only a
// reply shows that the peer is well.
//
// After a failed dial the pause is short, so that a server that is back is found at once. After
// closed connections it grows to seconds, since each of them costs the peer something. While a
// shared connection works, another one is not needed, and the pause has that length from the
// beginning.
//
// A connection that ends with a request on it may have ended because of that request alone. Its end
// fails that call; for the others the set dials another connection after the pause. They fail as
// well only when mostSpoilt connections in a row have ended before a reply.

// backoff is a Set's failures to get a connection, and the pause after the last one.
type backoff struct {
	failures int         // since the last first reply on a connection
	closings int         // since then: connections in a row that ended before a reply
	faults   uint64      // failures to get a connection so far
	fault    error       // the last failure; nil if there was none
	lastErr  error       // the last failure, if no dial has succeeded since; otherwise nil
	pauses   uint64      // begun so far
	pause    *time.Timer // non-nil: no dial begins before it fires
	spares   bool        // there is a pause because a connection that works is enough
}

// note records a failure.
func (b *backoff) note(err error) {
	b.lastErr, b.fault = err, err
	b.faults++
	b.failures++
}

// mostSpoilt is how many connections in a row may end before their first reply until waiting calls
// fail too, though a request was on each connection. The earlier pauses take some 15 ms together.
const mostSpoilt = 5

// backoffJitter is the part of a pause by which clients differ.
const backoffJitter = 0.5

// failedLocked begins the pause after a failed dial. Calls with no other hope fail with err.
func (s *Set) failedLocked(err error) {
	s.backoff.note(err)
	s.pauseLocked(jitter(doubled(s.config.BackoffMin, s.backoff.failures, s.config.BackoffMax), backoffJitter))
	s.giveUpWaitersLocked(err)
}

// closedLocked begins the pause after cc, which ended before its first reply, at the given age.
func (s *Set) closedLocked(cc *clientConn, err error, age time.Duration) {
	s.backoff.note(err)
	if cc.standing.closingsAt >= s.backoff.closings { // connections open at the same time count once
		s.backoff.closings++
	}
	longest := s.config.BackoffMaxClosed
	pause := jitter(doubled(s.config.BackoffMin, s.backoff.closings, longest), backoffJitter)
	if s.members.work() {
		pause = more(longest, backoffJitter)
		s.backoff.spares = s.backoff.spares || s.backoff.pause == nil
	}
	s.pauseLocked(pause - age)
	if s.backoff.closings < mostSpoilt && cc.hasSigned() {
		s.backoff.lastErr = nil // calls that begin in the pause do not fail for it either
		s.endDialLocked()
		return
	}
	s.giveUpWaitersLocked(err)
}

// doubled returns least, doubled n-1 times, but at most longest.
func doubled(least time.Duration, n int, longest time.Duration) time.Duration {
	d := least << min(n-1, 16)
	if d <= 0 || d > longest {
		return longest
	}
	return d
}

// giveUpWaitersLocked fails calls that have no hope left after a failure.
func (s *Set) giveUpWaitersLocked(err error) {
	s.endDialLocked()
	if s.members.open() == 0 && s.dials.running == 0 {
		s.failWaitersLocked(err)
	}
}

// pauseLocked begins a pause of d, unless one is running.
func (s *Set) pauseLocked(d time.Duration) {
	if s.backoff.pause != nil || s.closed {
		return
	}
	s.backoff.pauses++
	n := s.backoff.pauses
	s.backoff.pause = s.goroutines.after(max(d, 0), func() { s.endPause(n) })
	s.publishLocked()
}

// spareLocked is called when shared connections may have stopped working. If none works it ends
// what waits because no other connection was needed: a pause, and the trials of new connections.
func (s *Set) spareLocked() {
	if s.members.work() {
		return
	}
	if s.dials.alone != nil {
		close(s.dials.alone)
		s.dials.alone = nil
	}
	if s.backoff.spares {
		s.goroutines.stop(s.backoff.pause)
		s.backoff.pause, s.backoff.spares = nil, false
		s.publishLocked()
		s.endDialLocked()
	}
}

// endPause ends the nth pause, unless it has been ended already.
func (s *Set) endPause(n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.backoff.pause == nil || n != s.backoff.pauses {
		return
	}
	s.backoff.pause, s.backoff.spares = nil, false
	s.publishLocked()
	s.endDialLocked()
	s.serveLocked()
}

// recovered ends the row of failures and any pause: a connection has had its first reply.
func (s *Set) recovered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backoff.failures, s.backoff.closings, s.backoff.lastErr = 0, 0, nil
	s.goroutines.stop(s.backoff.pause)
	s.backoff.pause, s.backoff.spares = nil, false
	s.publishLocked()
	s.endDialLocked()
	s.serveLocked()
}

// longLife is the age below which an ended connection counts as cut short.
const longLife = time.Second

// cutShortLocked counts a connection that ended against this side's will, and without a reply, as a
// failure to get one. A connection that has lived longer than any pause, or long enough to be of
// use, does not count: the next dial comes late enough.
func (s *Set) cutShortLocked(cc *clientConn, cause error) {
	if cc.hello.replied.Load() || cc.standing.cutShort {
		return
	}
	cc.standing.cutShort = true
	if age := time.Since(cc.born); age < min(s.config.BackoffMaxClosed, longLife) {
		s.closedLocked(cc, cause, age)
	}
}

// peerDrained counts a connection that the peer drains without a call on it as cut short. It leaves
// out a connection that was listed when it died: forget is about to count that.
func (s *Set) peerDrained(cc *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, open := s.members.conns[cc]
	if dying := open && !cc.isDraining() && cc.deathCause() != nil; !dying && cc.places.load.Load() == 0 {
		s.cutShortLocked(cc, errPeerDrains)
		s.serveLocked()
	}
}
