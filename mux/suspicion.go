package mux

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// This file is about connections whose path may be dead; the kernel may not report that for a long
// time. When a call times out, each of the set's connections that has been quiet for half as long
// as the call took becomes suspect, its own and others: what cuts one path to an address usually
// cuts the others. The set pings the peer at once on each of them. New calls take another
// connection, or wait for an answer for a grace of a few dials' time. A connection without an
// answer by then is doubted: calls may have another one dialed in its place. Upkeep ends it unless
// there is a sign of life within about a second, and a second more for each 256 KiB of requests,
// oneways included, that may be ahead of the ping. Any byte clears it. So dead paths cost each
// caller about one call, and a peer that is slow with one call costs a ping on each connection.

// trust says what the set thinks of a connection's path.
type trust uint8

const (
	trusted trust = iota // nothing speaks against it
	asked                // a call timed out, here or beside it, after a long silence; a ping is out
	doubted              // a ping has gone out, and no answer has come within the grace
)

// String returns the name.
func (t trust) String() string { return [...]string{"trusted", "asked", "doubted"}[t] }

// limitUnacknowledged has the kernel find a dead path that bytes are waiting for. The limit is no
// stricter than the write timeout; without that there is none. It does nothing on systems and
// connections without such a limit.
func (cc *clientConn) limitUnacknowledged() {
	if d := cc.set.config.WriteTimeout; d > 0 {
		_ = cc.conn.SetUserTimeout(pulse.UserTimeout(d))
	}
}

// signs returns what the connection shows of its peer's life.
func (cc *clientConn) signs() pulse.Signs {
	return pulse.Signs{Heard: cc.arrived.heard(), Waited: cc.out.WaitedFor(), Excused: cc.isHalfClosed(), Outstanding: cc.outstanding()}
}

// outstanding returns about how many bytes of requests the peer has not answered or, for oneways,
// may not have read.
func (cc *clientConn) outstanding() int64 {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	calls := cc.places.takenLocked()
	unanswered := max(0, cc.requests.held.Load()+cc.places.calls.lateBytes-int64(calls)*frame.MinMemory)
	return unanswered + cc.oneways.unread()
}

// noteHeard records when something came. Only the reader calls it.
func (cc *clientConn) noteHeard() { cc.arrived.at.Store(int64(time.Since(cc.born))) }

// quiet returns how long nothing has come, as far as the reader has noticed.
func (cc *clientConn) quiet() time.Duration { return cc.arrived.quiet(time.Since(cc.born)) }

// timedOut is called when c, which was sent, has ended because of over. If over is a timeout, quiet
// connections become suspect.
func (cc *clientConn) timedOut(c *Call, over error) {
	if mode(cc.mode.Load()) != modeShared {
		return
	}
	if !errors.Is(over, os.ErrDeadlineExceeded) && !errors.Is(over, context.DeadlineExceeded) {
		return
	}
	for _, quiet := range cc.set.suspect(cc, time.Since(cc.born)-c.sentAt) {
		cc.set.counters.suspicions.Add(1)
		_, _ = quiet.sendControl(frame.SignalPing)
		quiet.kickReader() // part of a frame may have come that the reader has not counted
		quiet.watchNow()   // or there is no reader
	}
}

// suspect makes cc, on which a call was unanswered for that long, and the other connections
// suspect, if they have been quiet for half of that time. It returns those that were not suspect
// before. Half, since a call may be sent some time before its path dies, and others then have
// replies meanwhile.
func (s *Set) suspect(cc *clientConn, unanswered time.Duration) (suspects []*clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	list := *s.list.Load()
	if _, open := s.members.conns[cc]; open && !slices.Contains(list, cc) { // it drains
		list = append(list[:len(list):len(list)], cc)
	}
	for _, quiet := range list {
		if mode(quiet.mode.Load()) == modeShared && quiet.quiet() >= unanswered/2 && s.suspectLocked(quiet) {
			suspects = append(suspects, quiet)
		}
	}
	return suspects
}

// suspectLocked makes cc suspect, and reports whether it was not suspect before.
func (s *Set) suspectLocked(cc *clientConn) bool {
	if !cc.upkeep.suspicion.Begin(time.Now(), cc.signs()) {
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
	if _, open := s.members.conns[cc]; open && !cc.isDraining() && trust(cc.trust.Load()) == doubted {
		s.members.doubted--
	}
	cc.upkeep.suspicion = pulse.Suspicion{}
	cc.trust.Store(uint32(trusted))
	s.publishLocked()
}

// doubtLocked is called when the answer to the ping is late.
func (s *Set) doubtLocked(cc *clientConn) {
	cc.trust.Store(uint32(doubted))
	if !cc.isDraining() {
		s.members.doubted++
	}
	s.spareLocked()
	s.publishLocked()
	s.serveLocked()
}

// lookAtSuspectLocked decides about a connection that may be suspect. It reports whether the
// connection goes on, and when the next look is due.
func (s *Set) lookAtSuspectLocked(cc *clientConn, now time.Time, due *upkeepWork) (goesOn bool, next time.Duration) {
	if trust(cc.trust.Load()) == trusted {
		return true, s.restPeriod()
	}
	switch cc.upkeep.suspicion.Look(now, cc.signs()) {
	case pulse.Silent:
		due.silent = append(due.silent, cc)
		return false, pulse.SuspicionPause
	case pulse.Good:
		s.trustLocked(cc)
		return true, s.restPeriod()
	}
	due.quiet = append(due.quiet, cc)
	left := cc.grace - cc.upkeep.suspicion.Lasts(now)
	if left > 0 {
		return true, min(left, pulse.SuspicionPause)
	}
	if trust(cc.trust.Load()) == asked {
		s.doubtLocked(cc)
	}
	return true, pulse.SuspicionPause
}

// isToBeAwaited reports whether a call that has found nothing better should wait: for an answer to
// the ping, or for another connection's hello, if one is awaited.
func (cc *clientConn) isToBeAwaited(helloAwaited bool) bool {
	switch trust(cc.trust.Load()) {
	case asked:
		return true
	case doubted:
		return helloAwaited
	}
	return false
}
