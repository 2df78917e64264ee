package muxserver

import (
	"sync/atomic"
	"time"
)

// This file is about clients that know package mux and have no calls. They are told to drain
// instead of being disconnected, so that a request that is on its way then is answered.

// idleGrace is how long after the idle time a client that was told to drain may stay without a call
// before its connection is closed. If the idle time is shorter, the grace is as long as that.
const idleGrace = 10 * time.Second

// idle is since when a connection has had no call.
type idle struct {
	used atomic.Bool // a call was taken since the last look; set by the reading side

	// guarded by Server.mu
	since  time.Duration // by the server's clock; 0: the connection was in use at the last look
	coming uint64        // progress at the last look while a request was coming; 0: none was
}

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
	if s.arrival.note.Load() != 0 {
		coming = s.progress.Load() // whatever comes is the request's
	}
	goesOn := coming != s.idle.coming
	if s.idle.used.Load() || goesOn || s.share.inFlight.Load() > 0 || s.out.Pending() > 0 || s.pause.unread.Load() || !s.conn.IsActive() {
		s.idle.used.Store(false)
		s.idle.since, s.idle.coming = 0, coming
		return restShort
	}
	at := now.Sub(s.server.start)
	if s.idle.since == 0 {
		s.idle.since = at
		s.out.Trim()
	}
	switch lasts, told := at-s.idle.since, s.ending.drainSaid.Load(); {
	case told && lasts >= timeout+min(timeout, idleGrace):
		return restOverdue
	case !told && lasts >= timeout:
		return restIdle
	}
	return restShort
}

// noteUse records that a call was taken. It writes once between looks.
func (i *idle) noteUse() {
	if !i.used.Load() {
		i.used.Store(true)
	}
}
