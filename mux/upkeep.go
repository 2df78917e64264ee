package mux

import "time"

// watchPeriod is how long nobody must have read a connection, once to twice, before it
// is watched.
const watchPeriod = 50 * time.Millisecond

// planUpkeep is planUpkeepLocked without the lock.
func (s *Set) planUpkeep(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planUpkeepLocked(d)
}

// planUpkeepLocked makes sure that upkeep runs in at most d.
func (s *Set) planUpkeepLocked(d time.Duration) {
	due := time.Now().Add(d)
	if s.closed || !s.upkeepAt.IsZero() && !s.upkeepAt.After(due) {
		return
	}
	s.upkeepAt = due
	if s.upkeep == nil {
		s.upkeep = time.AfterFunc(d, s.runUpkeep)
		return
	}
	s.upkeep.Reset(d)
}

// runUpkeep looks at all connections: whom nobody reads gets a watcher, who is silent is
// asked, who is idle or old goes. It runs on the timer's goroutine, often while calls come
// and go, and otherwise as often as the configuration needs.
func (s *Set) runUpkeep() {
	var due upkeepWork
	s.mu.Lock()
	s.upkeepAt = time.Time{}
	if !s.closed {
		s.lookLocked(&due)
	}
	s.mu.Unlock()
	for _, cc := range due.silent {
		cc.fail(ErrSilent)
	}
	for _, cc := range due.asked {
		cc.sendControl(signalPing)
	}
	for _, cc := range due.surplus {
		s.drain(cc)
	}
}

// upkeepWork is what has to be done without the set's lock.
type upkeepWork struct {
	silent  []*clientConn // to end
	asked   []*clientConn // to be sent a ping
	surplus []*clientConn // to drain
}

// lookLocked looks at every connection and plans the next look.
func (s *Set) lookLocked(due *upkeepWork) {
	now := time.Now()
	next := s.restPeriod()
	extra := 0
	if s.peer == peerShared {
		extra = s.active - s.config.MaxConns
	}
	for cc := range s.conns {
		if !cc.watchIfUnread() {
			next = watchPeriod
		}
		switch s.healthLocked(cc, now) {
		case healthSilent:
			due.silent = append(due.silent, cc)
			continue
		case healthAsk:
			due.asked = append(due.asked, cc)
		}
		switch {
		case s.isIdleLocked(cc, now, extra > 0):
			due.surplus = append(due.surplus, cc)
			extra--
		case !cc.expireAt.IsZero() && now.After(cc.expireAt) && !cc.retiring && !cc.isDraining():
			cc.retiring = s.dialLocked(cc)
		}
	}
	if len(s.conns) > 0 {
		s.planUpkeepLocked(next)
	}
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

// watchIfUnread gives the connection a watcher if nobody read it since the last look. It
// reports whether somebody reads it for as long as it is idle.
func (cc *clientConn) watchIfUnread() bool {
	progress := cc.progress.Load()
	quiet := progress == cc.seen
	cc.seen = progress
	cc.mu.Lock()
	watched, read := cc.roles.watched, cc.roles.leader != nil
	cc.mu.Unlock()
	if watched || !quiet || read {
		return watched
	}
	cc.watchNow()
	return true
}

// health says what a look at a connection found.
type health uint8

const (
	healthGood   health = iota // something was received lately, or nobody wants to know
	healthAsk                  // a ping is due
	healthSilent               // a ping was not answered
)

// healthLocked decides whether a connection has given a sign of life lately. Only a
// shared one has a peer that answers pings. There are four looks per interval, and one
// finds what came since the one before: so a ping goes out within an interval, has half of
// one to be answered, and a peer that is gone is found within two.
func (s *Set) healthLocked(cc *clientConn, now time.Time) health {
	interval := s.config.Heartbeat
	if interval <= 0 || mode(cc.mode.Load()) != modeShared {
		return healthGood
	}
	heard := cc.progress.Load()
	switch quiet := now.Sub(cc.heardAt); {
	case heard != cc.heard || cc.heardAt.IsZero():
		cc.heard, cc.heardAt, cc.pinged = heard, now, false
	case cc.pinged && quiet >= interval+interval/2:
		return healthSilent
	case !cc.pinged && quiet >= interval-interval/4:
		cc.pinged = true
		return healthAsk
	}
	return healthGood
}

// isIdleLocked reports whether the connection has had no call for too long, or, with one
// connection more than are needed, whether it has none now.
func (s *Set) isIdleLocked(cc *clientConn, now time.Time, oneTooMany bool) bool {
	if cc.load.Load() > 0 || cc.isDraining() {
		cc.idleSince = time.Time{}
		return false
	}
	if oneTooMany {
		return true
	}
	if s.config.IdleTimeout <= 0 {
		return false
	}
	if cc.idleSince.IsZero() || cc.progress.Load() != cc.idleProgress {
		cc.idleSince, cc.idleProgress = now, cc.progress.Load()
	}
	return now.Sub(cc.idleSince) >= s.config.IdleTimeout
}
