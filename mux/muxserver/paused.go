package muxserver

import (
	"sync/atomic"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// This file tells clients of paused connections that the server lives. It does not read their
// pings: a client whose calls time out there would take the path for dead within a second, and what
// the kernels hold of its oneways would be lost with the connection.

// pause is why a connection is not read, and who has it read again. All of it is atomic. While full
// is set, or the connection is in room.paused, it is unread.
type pause struct {
	unread  atomic.Bool  // a limit has no room: not read until the next OnRequest
	full    atomic.Bool  // not read, since the connection's load is at its limit
	resumed atomic.Bool  // read again because it was its turn in the room
	need    atomic.Int64 // the weight of the oneway in front; of meaning only in room.paused
	told    entry        // in the server's pauses
}

// pausePeriod is how often a client is told so.
const pausePeriod = pulse.SuspicionLimit / 3

// tellPaused says that the server lives, unless waiting replies will show that. It reports whether
// the connection is still paused.
func (s *Conn) tellPaused() (again bool) {
	if s.conn.IsClosed() {
		return false
	}
	if s.pause.unread.Load() {
		if s.out.Pending() == 0 {
			s.say(frame.SignalPong)
		}
		return true
	}
	s.pause.told.leave()
	return s.pause.unread.Load() && s.pause.told.enter()
}
