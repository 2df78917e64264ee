package mux

import (
	"container/list"
	"sync/atomic"
)

// This file is calls that find no connection at once.

// queue is the calls of a Set that wait for a connection.
type queue struct {
	length    atomic.Int32 // waiters.Len(), for code that does not take the lock
	waiters   list.List    // of *waiter, oldest first
	impatient int          // of waiters: those that wait only while connections are being opened
}

// waiter is a call that waits for a connection.
type waiter struct {
	call      *Call
	done      chan struct{}   // closed when it has one, or failed
	at        *list.Element   // in queue.waiters; nil: it does not wait
	elsewhere <-chan struct{} // closed when its caller has a connection elsewhere; may be nil
	soon      bool            // it waits only while connections are being opened
	err       error           // set before done is closed
}

// beginSlow waits for a place. The wait also ends once elsewhere, which may be nil, is closed, and,
// if soon is set, once no connection is being opened.
func (s *Set) beginSlow(c *Call, elsewhere <-chan struct{}, soon bool) error {
	if err := c.over(); err != nil {
		return err
	}
	s.mu.Lock()
	w := &waiter{call: c, done: make(chan struct{}), elsewhere: elsewhere, soon: soon}
	err := s.queueLocked(w)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	over := c.parkUnless(w.done, elsewhere)
	if over == nil {
		return w.err
	}
	s.mu.Lock()
	queued := s.dropWaiterLocked(w)
	s.mu.Unlock()
	if !queued && w.err == nil {
		c.leave() // it got a connection at that moment
		c.conn.release()
	}
	return over
}

// queueLocked makes w wait, or returns why there is no hope. After a failed dial only the call that
// has begun the next dial waits. The others have better things to do, such as trying another
// address.
func (s *Set) queueLocked(w *waiter) error {
	if s.closed {
		return ErrClosed
	}
	dialing := s.dials.running
	w.at = s.queue.waiters.PushBack(w)
	s.queue.length.Add(1)
	if w.soon {
		s.queue.impatient++
	}
	s.serveLocked()
	if w.at == nil {
		return nil // served, or failed by serveLocked
	}
	if s.dials.running == dialing && s.members.open() == 0 && s.backoff.lastErr != nil {
		s.dropWaiterLocked(w)
		return s.backoff.lastErr
	}
	return nil
}

// isChangingLocked reports whether there may soon be room: a connection's first frame, or the
// answer to a ping, is still to come, or a connection's end is known already, or one is about to be
// handed over. The owner of a connection that was handed over knows of its end before the set is
// told.
func (s *Set) isChangingLocked() bool {
	for cc := range s.members.conns {
		if cc.isChanging() {
			return true
		}
	}
	for c, owned := range s.members.apart {
		if !owned || c.Err() != nil {
			return true
		}
	}
	return false
}

// isChanging is isChangingLocked for one connection. A connection whose last request is still being
// written may not be handed over for long.
func (cc *clientConn) isChanging() bool {
	cc.mu.Lock()
	draining, dead, unused := cc.life.draining, cc.life.cause != nil, cc.isUnusedLocked()
	cc.mu.Unlock()
	switch {
	case draining:
		return false
	case dead, mode(cc.mode.Load()) == modeProbing, trust(cc.trust.Load()) == asked:
		return true
	case unused:
		return cc.out.Pending() == 0
	}
	return !cc.conn.IsActive()
}

// dropWaiterLocked takes w out and reports whether it was still waiting.
func (s *Set) dropWaiterLocked(w *waiter) bool {
	if w.at == nil {
		return false
	}
	s.queue.waiters.Remove(w.at)
	w.at = nil
	s.queue.length.Add(-1)
	if w.soon {
		s.queue.impatient--
	}
	return true
}

// firstWaiterLocked returns the call that has waited longest; nil if none waits.
func (s *Set) firstWaiterLocked() *waiter {
	first := s.queue.waiters.Front()
	if first == nil {
		return nil
	}
	return first.Value.(*waiter) //nolint:errcheck // the only type that is stored
}

// endWaiterLocked ends the wait of w, with a connection or with err.
func (s *Set) endWaiterLocked(w *waiter, err error) {
	s.dropWaiterLocked(w)
	w.err = err
	close(w.done)
}

// serveLocked gives connections to waiting calls, in order, and dials more for the calls that get
// none. With FailFast a call fails if neither a connection nor a dial is under way for it.
func (s *Set) serveLocked() {
	for w := s.firstWaiterLocked(); w != nil && s.assignLocked(w.call); w = s.firstWaiterLocked() {
		s.endWaiterLocked(w, nil)
	}
	for s.dials.running < s.queue.waiters.Len() && s.dialLocked(nil) {
		continue
	}
	if s.dials.running == 0 {
		s.sendElsewhereLocked()
	}
	s.planGraceLocked()
	left := s.queue.waiters.Len()
	if left > 0 {
		s.planRestsLocked()
	}
	if left > 0 && s.config.Overload == FailFast && s.members.open() > 0 && s.dials.running == 0 && !s.isChangingLocked() {
		s.overloadLocked()
	}
}

// overloadLocked ends all waits for lack of room. A call that has a connection elsewhere, of which
// its caller may not have heard yet, has not met a limit.
func (s *Set) overloadLocked() {
	for w := s.firstWaiterLocked(); w != nil; w = s.firstWaiterLocked() {
		select {
		case <-w.elsewhere:
			s.endWaiterLocked(w, ErrElsewhere)
		default:
			s.counters.overloads.Add(1)
			s.endWaiterLocked(w, ErrOverloaded)
		}
	}
}

// assignLocked finds a connection for c.
func (s *Set) assignLocked(c *Call) bool {
	best, clogged := s.pick()
	return best != nil && (!clogged || !s.moreSoon.Load()) && best.begin(c)
}

// sendElsewhereLocked ends the waits of calls that wait only while connections are being opened.
func (s *Set) sendElsewhereLocked() {
	for at := s.queue.waiters.Front(); at != nil && s.queue.impatient > 0; {
		w := at.Value.(*waiter) //nolint:errcheck // the only type that is stored
		at = at.Next()
		if w.soon {
			s.endWaiterLocked(w, ErrElsewhere)
		}
	}
}

// failWaitersLocked ends all waits with err.
func (s *Set) failWaitersLocked(err error) {
	for w := s.firstWaiterLocked(); w != nil; w = s.firstWaiterLocked() {
		s.endWaiterLocked(w, err)
	}
}

// serveWaiters is called when there is room again on a connection.
func (s *Set) serveWaiters() {
	if s.queue.length.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serveLocked()
}
