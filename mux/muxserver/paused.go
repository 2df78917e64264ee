package muxserver

import (
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// This file tells clients of paused connections that the server lives. It does not read their
// pings: a client whose calls time out there would take the path for dead within a second, and what
// the kernels hold of its oneways would be lost with the connection.

// pausePeriod is how often a client is told so.
const pausePeriod = pulse.SuspicionLimit / 3

// tellPaused says that the server lives, unless waiting replies will show that. It reports whether
// the connection is still paused.
func (s *Conn) tellPaused() (again bool) {
	if s.conn.IsClosed() {
		return false
	}
	if s.unread.Load() {
		if s.out.Pending() == 0 {
			s.say(frame.SignalPong)
		}
		return true
	}
	s.told.leave()
	return s.unread.Load() && s.told.enter()
}
