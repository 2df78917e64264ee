package muxserver

import "time"

// This file is about clients that know package mux and have no calls. They are told to drain
// instead of being disconnected, so that a request that is on its way then is answered.

// idleGrace is how long after the idle time a client that was told to drain may stay without a call
// before its connection is closed. If the idle time is shorter, the grace is as long as that.
const idleGrace = 10 * time.Second

// rest is what a look finds about a connection's calls.
type rest uint8

const (
	restShort   rest = iota // there was one lately, or there is no idle time
	restIdle                // there was none for the idle time: the client must be told to drain
	restOverdue             // the client was told so, and has done nothing
)

// String returns the finding's name.
func (r rest) String() string { return [...]string{"short", "idle", "overdue"}[r] }

// restLocked decides whether the client has had no call for too long. The client is told within a
// quarter more than the idle time, and never before. Heartbeats are not calls; a request that is
// coming counts as one while it goes on. A client that has closed its writing side or that is not
// read is not judged.
func (s *Conn) restLocked(now time.Time) rest {
	timeout := s.server.config.IdleTimeout
	if timeout <= 0 {
		return restShort
	}
	var coming uint64
	if s.arrival.Load() != 0 {
		coming = s.progress.Load() // whatever comes is the request's
	}
	goesOn := coming != s.restComing
	if s.used.Load() || goesOn || s.inFlight.Load() > 0 || s.out.Pending() > 0 || s.unread.Load() || !s.conn.IsActive() {
		s.used.Store(false)
		s.restsSince, s.restComing = time.Time{}, coming
		return restShort
	}
	if s.restsSince.IsZero() {
		s.restsSince = now
		s.out.Trim()
	}
	switch idle, told := now.Sub(s.restsSince), s.drainSaid.Load(); {
	case told && idle >= timeout+min(timeout, idleGrace):
		return restOverdue
	case !told && idle >= timeout:
		return restIdle
	}
	return restShort
}

// noteUse records that a call was taken. It writes once between looks.
func (s *Conn) noteUse() {
	if !s.used.Load() {
		s.used.Store(true)
	}
}
