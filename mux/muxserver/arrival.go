package muxserver

import (
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is the deadline of frames that have begun: each 256 KiB of one must come within the
// read timeout, from marked and other clients. When the reading side gives the connection up, it
// notes how far a frame has come. The server looks at those notes while there are any.

// pieceBits is how many bits of an arrival say how many pieces of the frame have come.
const pieceBits = 20

// arrival is how far the frame in front of a connection had come when its reading side gave it up.
type arrival struct {
	note   atomic.Uint64 // see arrivalOf; written by the reading side
	looked entry         // in the server's arrivals
	pieces pulse.Pieces  // owned by the server's looks at arrivals
}

// arrivalOf returns the note about a frame of which came bytes have come and in front of which
// frames others were taken; 0 if it has not begun.
func arrivalOf(frames uint64, came int64) uint64 {
	if came == 0 {
		return 0
	}
	return frames<<pieceBits | uint64(came/pulse.PieceBytes+1)
}

// noteArrival notes how far the frame in front has come. The reading side calls it when it has
// taken what it can.
func (s *Conn) noteArrival(in buffer.Reader) {
	came := int64(in.Len())
	if s.reading.front.skip > 0 {
		came += s.reading.front.skipped
	}
	note := arrivalOf(s.reading.frames, came)
	if s.pause.unread.Load() {
		note = 0           // this side does not want more of it now,
		s.reading.frames++ // and what comes after the pause counts from then on
	}
	if s.arrival.note.Load() != note {
		s.arrival.note.Store(note)
	}
	if limit := s.server.config.ReadTimeout; note != 0 && limit > 0 && s.arrival.looked.enter() {
		s.lookAtArrival(time.Now(), limit)
		s.server.arrivals.add(s)
	}
}

// lookAtArrival reports whether a frame is coming, and whether it takes too long.
func (s *Conn) lookAtArrival(now time.Time, limit time.Duration) (coming, overdue bool) {
	note := s.arrival.note.Load()
	a := pulse.Arrival{Begun: note != 0}
	if a.Begun {
		a.Whole = note >> pieceBits
		a.Bytes = int64(note&(1<<pieceBits-1)-1) * pulse.PieceBytes
	}
	overdue = s.arrival.pieces.IsOverdue(now, limit, a)
	return a.Begun, overdue
}

// checkArrival ends the connection if its frame has stopped coming. It reports whether to look
// again.
func (s *Conn) checkArrival(now time.Time) (again bool) {
	switch coming, overdue := s.lookAtArrival(now, s.server.config.ReadTimeout); {
	case s.conn.IsClosed():
		return false
	case overdue:
		s.server.counters.stalled.Add(1)
		s.report(cause.ErrStalled)
		s.end()
		return false
	case coming:
		return true
	}
	s.arrival.looked.leave()
	return s.arrival.note.Load() != 0 && s.arrival.looked.enter()
}
