package mux

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// This file is about connections whose path may be dead, of which the kernel says nothing for a
// long time. A call that times out while nothing has come since it was sent makes its connection
// suspect: the peer is asked at once, and new calls take another connection, or wait for the answer
// for a grace of a few dials' time. Without an answer by then the connection is doubted: calls may have
// another one dialled in its place. Upkeep ends it unless there is a sign of life within about a
// second, and a second more for each 256 KiB of requests that may be ahead of the ping; any byte clears it. So a dead path costs each caller about one call, and a peer that is
// slow with a call costs a ping.

// trust says what is thought of a connection's path.
type trust uint8

const (
	trusted trust = iota // nothing speaks against it
	asked                // a call has timed out without a sign of life since it was sent; a ping has gone out
	doubted              // and no answer has come within the grace
)

// String returns the name.
func (t trust) String() string { return [...]string{"trusted", "asked", "doubted"}[t] }

// limitUnacknowledged has the kernel find a dead path that bytes are waiting for. It is no stricter
// than the write timeout, and without that there is no limit. It does nothing on systems and
// connections that have none.
func (cc *clientConn) limitUnacknowledged() {
	if d := cc.set.config.WriteTimeout; d > 0 {
		_ = cc.conn.SetUserTimeout(pulse.UserTimeout(d))
	}
}

// heard returns a number that changes whenever something has come, once a reader has noticed.
func (cc *clientConn) heard() uint64 { return cc.progress.Load() + cc.trickle.Load() }

// signs returns what the connection shows of its peer.
func (cc *clientConn) signs() pulse.Signs {
	return pulse.Signs{Heard: cc.heard(), Waited: cc.out.WaitedFor(), Excused: cc.isHalfClosed(), Outstanding: cc.outstanding()}
}

// outstanding returns about how many bytes of requests are not answered.
func (cc *clientConn) outstanding() int64 {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	calls := cc.calls.inFlight + cc.calls.late
	return max(0, cc.held.Load()+cc.calls.lateBytes-int64(calls)*frame.MinMemory)
}

// timedOut is called when c, which was sent, has ended because of over. It makes the connection
// suspect if that is a timeout and nothing has come meanwhile.
func (cc *clientConn) timedOut(c *Call, over error) {
	if cc.heard() != c.heard || mode(cc.mode.Load()) != modeShared {
		return
	}
	if !errors.Is(over, os.ErrDeadlineExceeded) && !errors.Is(over, context.DeadlineExceeded) {
		return
	}
	if cc.set.suspect(cc) {
		cc.set.counters.suspicions.Add(1)
		_, _ = cc.sendControl(frame.SignalPing)
		cc.kickReader() // a part of a frame may have come, which the reader has not told of
		cc.watchNow()   // or there is no reader
	}
}

// suspect makes cc suspect, and reports whether it was not.
func (s *Set) suspect(cc *clientConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, open := s.conns[cc]; !open || s.closed || !cc.suspicion.Begin(time.Now(), cc.signs()) {
		return false
	}
	cc.trust.Store(uint32(asked))
	s.planUpkeepLocked(min(cc.grace, pulse.SuspicionPause))
	return true
}

// vouch ends a suspicion: something has come. Only the reader calls it.
func (cc *clientConn) vouch() {
	if trust(cc.trust.Load()) == trusted {
		return
	}
	s := cc.set
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trustLocked(cc)
	s.serveLocked()
}

// trustLocked ends a suspicion.
func (s *Set) trustLocked(cc *clientConn) {
	if _, open := s.conns[cc]; open && !cc.isDraining() && trust(cc.trust.Load()) == doubted {
		s.doubted--
	}
	cc.suspicion = pulse.Suspicion{}
	cc.trust.Store(uint32(trusted))
	s.publishLocked()
}

// doubtLocked is called when the answer to the ping is late.
func (s *Set) doubtLocked(cc *clientConn) {
	cc.trust.Store(uint32(doubted))
	if !cc.isDraining() {
		s.doubted++
	}
	s.spareLocked()
	s.publishLocked()
	s.serveLocked()
}

// lookAtSuspectLocked decides about a connection that may be suspect. It reports whether it goes
// on, and when the next look is due.
func (s *Set) lookAtSuspectLocked(cc *clientConn, now time.Time, due *upkeepWork) (goesOn bool, next time.Duration) {
	if trust(cc.trust.Load()) == trusted {
		return true, s.restPeriod()
	}
	switch cc.suspicion.Look(now, cc.signs()) {
	case pulse.Silent:
		due.silent = append(due.silent, cc)
		return false, pulse.SuspicionPause
	case pulse.Good:
		s.trustLocked(cc)
		return true, s.restPeriod()
	}
	due.quiet = append(due.quiet, cc)
	left := cc.grace - cc.suspicion.Lasts(now)
	if left > 0 {
		return true, min(left, pulse.SuspicionPause)
	}
	if trust(cc.trust.Load()) == asked {
		s.doubtLocked(cc)
	}
	return true, pulse.SuspicionPause
}

// isToBeAwaited reports whether a call that has found nothing better had rather wait for an answer
// to the ping, or for another connection's hello, if one is awaited.
func (cc *clientConn) isToBeAwaited(helloAwaited bool) bool {
	switch trust(cc.trust.Load()) {
	case asked:
		return true
	case doubted:
		return helloAwaited
	}
	return false
}
