package muxserver

import "time"

// This file is about clients that know package mux and have no calls: they are told to drain
// instead of being closed on, so that a request that is on its way then is answered.

// idleGrace is how much longer than the idle time a client may go without a call that was told to
// drain, and has not gone, before its connection is closed all the same; with an idle time below it
// it is that once more.
const idleGrace = 10 * time.Second

// rest is what a look finds about a connection's calls.
type rest uint8

const (
	restShort   rest = iota // there was one lately, or nobody wants to know
	restIdle                // there was none for the idle time: the client is to drain
	restOverdue             // it was told so, and has done nothing
)

// String returns the finding's name.
func (r rest) String() string { return [...]string{"short", "idle", "overdue"}[r] }

// restLocked decides whether the client has had no call for too long. It is told within a quarter
// more than the idle time, and never before; heartbeats are no calls, and a request that is coming
// is one as long as it goes on. Of a client that has said goodbye, or that is not read, there is
// nothing to be decided.
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
