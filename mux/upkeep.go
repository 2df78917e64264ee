package mux

import (
	"slices"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// watchPeriod is how long a connection must go unread before it is watched; it may take twice as
// long.
const watchPeriod = 50 * time.Millisecond

// upkeepTimer is when a Set's upkeep runs next.
type upkeepTimer struct {
	timer *time.Timer // nil until there was a connection
	due   time.Time   // when it is due; zero: it is not set
}

// upkept is what upkeep remembers of a connection from one look to the next.
type upkept struct {
	idleSince time.Time // zero: it was not idle at the last look
	idleBegun uint64    // places.begun then
	lostAt    time.Time // when late replies were last counted; zero: they were few
	seen      uint64    // what it had heard at the last look for a reader
	pulse     pulse.Pulse
	suspicion pulse.Suspicion // active unless the connection is trusted
	pieces    pulse.Pieces
}

// planUpkeep is planUpkeepLocked without the lock.
func (s *Set) planUpkeep(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planUpkeepLocked(d)
}

// planUpkeepLocked makes sure that upkeep runs in at most d.
func (s *Set) planUpkeepLocked(d time.Duration) {
	due := time.Now().Add(d)
	if s.closed || !s.upkeep.due.IsZero() && !s.upkeep.due.After(due) {
		return
	}
	s.goroutines.stop(s.upkeep.timer)
	s.upkeep.due, s.upkeep.timer = due, s.goroutines.after(d, s.runUpkeep)
}

// runUpkeep looks at all connections. An unread connection gets a watcher, a silent peer is asked,
// and a connection that is idle, old, of no use or surplus ends. It runs on the timer's goroutine:
// often while calls come and go, otherwise as often as the configuration needs.
func (s *Set) runUpkeep() {
	var due upkeepWork
	s.mu.Lock()
	s.upkeep.due = time.Time{}
	if !s.closed {
		s.lookLocked(&due)
	}
	s.mu.Unlock()
	for _, cc := range due.silent {
		cc.fail(ErrSilent)
	}
	for _, cc := range due.stalled {
		cc.fail(ErrStalled)
	}
	for _, cc := range due.asked {
		_, _ = cc.sendControl(frame.SignalPing)
	}
	for _, cc := range due.quiet {
		cc.kickReader()
	}
	for _, cc := range due.surplus {
		s.drain(cc)
	}
}

// upkeepWork is what must be done without the set's lock.
type upkeepWork struct {
	silent  []*clientConn // to end
	stalled []*clientConn // to end
	asked   []*clientConn // to be sent a ping
	quiet   []*clientConn // whose reader must look up
	surplus []*clientConn // to drain
}

// lookLocked looks at every connection and plans the next look.
func (s *Set) lookLocked(due *upkeepWork) {
	now := time.Now()
	next := s.restPeriod()
	s.attentive.Store(false) // before looking for frames that have begun
	extra := s.trimLocked(due)
	for cc := range s.members.conns {
		if !cc.watchIfUnread() {
			next = min(next, watchPeriod)
		}
		goesOn, again := s.isWellLocked(cc, now, due)
		next = min(next, again)
		if !goesOn {
			continue
		}
		tooMany := extra > 0 && s.isLimitedLocked(cc) && mode(cc.mode.Load()) == modeProbing
		if cc.isCrowded() {
			next = min(next, lostTime/8)
		}
		switch {
		case s.isLostLocked(cc, now):
			due.surplus = append(due.surplus, cc)
		case s.isIdleLocked(cc, now, tooMany):
			due.surplus = append(due.surplus, cc)
			if tooMany {
				extra--
			}
		case cc.maxAge > 0 && now.Sub(cc.born) > cc.maxAge && !cc.standing.retiring && !cc.isDraining():
			cc.standing.retiring = s.dialLocked(cc)
		}
	}
	if len(s.members.conns) > 0 {
		s.planUpkeepLocked(next)
	}
}

// trimLocked notes shared connections beyond MaxConns that are not needed, those with the fewest
// calls first. They were opened before the peer was known to multiplex, or when its limits were met
// on the others. They finish their calls, but under load they are never idle. trimLocked returns
// how many of the connections whose peer is not known yet are too many as well.
func (s *Set) trimLocked(due *upkeepWork) (extra int) {
	shared := 0
	extra = -s.config.MaxConns
	for cc := range s.members.conns {
		if s.isLimitedLocked(cc) {
			extra++
			if mode(cc.mode.Load()) == modeShared {
				shared++
			}
		}
	}
	surplus := shared - s.config.MaxConns
	if surplus <= 0 {
		return extra
	}
	least := make([]*clientConn, 0, shared)
	for cc := range s.members.conns {
		if s.isLimitedLocked(cc) && mode(cc.mode.Load()) == modeShared {
			least = append(least, cc)
		}
	}
	slices.SortFunc(least, func(a, b *clientConn) int { return int(a.places.load.Load()) - int(b.places.load.Load()) })
	unneeded := s.unneededLocked(least, surplus)
	due.surplus = append(due.surplus, least[:unneeded]...)
	if unneeded < surplus {
		return 0 // those that are not known yet are needed too
	}
	return extra - surplus
}

// isLostLocked reports whether calls whose callers left lostTime ago hold half of the connection's
// places, or more, so that it must be replaced.
func (s *Set) isLostLocked(cc *clientConn, now time.Time) bool {
	first := cc.upkeep.lostAt.IsZero()
	switch {
	case !cc.isCrowded():
		cc.upkeep.lostAt = time.Time{}
		return false
	case !first && now.Sub(cc.upkeep.lostAt) < lostTime:
		return false
	}
	cc.upkeep.lostAt = now
	cc.mu.Lock()
	overdue := cc.places.calls.countOverdue()
	cc.mu.Unlock()
	return !first && 2*overdue >= cc.mostPlaces()
}

// isWellLocked notes what signs of life, or their absence, ask for. It reports whether the
// connection goes on, and when the next look is due.
func (s *Set) isWellLocked(cc *clientConn, now time.Time, due *upkeepWork) (goesOn bool, next time.Duration) {
	stalled, next := s.isStalledLocked(cc, now)
	if stalled {
		due.stalled = append(due.stalled, cc)
		return false, next
	}
	goesOn, again := s.lookAtSuspectLocked(cc, now, due)
	next = min(next, again)
	if !goesOn {
		return false, next
	}
	switch s.healthLocked(cc, now) {
	case pulse.Silent:
		due.silent = append(due.silent, cc)
		return false, next
	case pulse.Ask:
		due.asked = append(due.asked, cc)
		due.quiet = append(due.quiet, cc)
	case pulse.Kick:
		due.quiet = append(due.quiet, cc)
	}
	return true, next
}

// isLimitedLocked reports whether cc counts towards MaxConns: it is shared, or likely to be because
// the last first frame was a hello. There may be as many other connections as calls need, and
// another one in the place of a doubted one.
func (s *Set) isLimitedLocked(cc *clientConn) bool {
	if cc.isDraining() || trust(cc.trust.Load()) == doubted {
		return false
	}
	switch mode(cc.mode.Load()) {
	case modeShared:
		return true
	case modeProbing:
		return s.hellos.peer == peerShared
	}
	return false
}

// restPeriod is how long upkeep rests when all connections are watched.
func (s *Set) restPeriod() time.Duration {
	period := time.Minute
	for _, d := range []time.Duration{s.config.Heartbeat / 4, s.config.IdleTimeout / 8, s.config.MaxAge / 16} {
		if d > 0 {
			period = min(period, max(d, time.Millisecond))
		}
	}
	return period
}

// watchIfUnread gives the connection a watcher if nothing was read since the last look, unless
// reading is left to its only call. It reports whether upkeep may rest as far as this connection
// goes.
func (cc *clientConn) watchIfUnread() bool {
	progress := cc.arrived.heard()
	quiet := progress == cc.upkeep.seen
	cc.upkeep.seen = progress
	if quiet && cc.places.load.Load() == 0 {
		cc.trim()
	}
	cc.mu.Lock()
	only := mode(cc.mode.Load()) == modeUnshared && !cc.life.draining
	watched, read := cc.roles.watched || cc.polled || only, cc.roles.leader != nil
	cc.mu.Unlock()
	if watched || !quiet || read {
		return watched
	}
	return cc.watchNow()
}

// trim gives back memory that a connection without calls keeps for the next ones.
func (cc *clientConn) trim() {
	cc.out.Trim()
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.places.calls.trim()
}

// isIdleLocked reports whether the connection has had no call for too long, or, if oneTooMany is
// set, whether it has none now. Late replies keep no connection.
func (s *Set) isIdleLocked(cc *clientConn, now time.Time, oneTooMany bool) bool {
	cc.mu.Lock()
	begun, draining := cc.places.begun, cc.life.draining
	cc.mu.Unlock()
	if cc.places.load.Load() > 0 || cc.out.Pending() > 0 || draining {
		cc.upkeep.idleSince = time.Time{}
		return false
	}
	if oneTooMany {
		return true
	}
	if s.config.IdleTimeout <= 0 {
		return false
	}
	if cc.upkeep.idleSince.IsZero() || begun != cc.upkeep.idleBegun {
		cc.upkeep.idleSince, cc.upkeep.idleBegun = now, begun
	}
	return now.Sub(cc.upkeep.idleSince) >= s.config.IdleTimeout
}
