package muxserver

import (
	"sync"
	"time"

	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is the deadline of frames that have begun: each 256 KiB of one must come within the
// read timeout, from a marked client or another. The reading side leaves a note of how far a frame
// has come when it gives the connection up, and the server looks at those notes as long as there
// are some.

// pieceBits is how many bits of an arrival say how many pieces of the frame have come.
const pieceBits = 20

// arrivalOf returns the note about a frame of which so many bytes have come, frames being in front
// of it; 0 if it has not begun.
func arrivalOf(frames uint64, came int64) uint64 {
	if came == 0 {
		return 0
	}
	return frames<<pieceBits | uint64(came/pulse.PieceBytes+1)
}

// noteArrival leaves a note of how far the frame in front has come. The reading side calls it when
// it has taken what it can.
func (s *Conn) noteArrival(in buffer.Reader) {
	came := int64(in.Len())
	if s.front.skip > 0 {
		came += s.front.skipped
	}
	note := arrivalOf(s.frames, came)
	if s.unread.Load() {
		note = 0   // this side does not want more of it now,
		s.frames++ // and what comes after the pause counts from then on
	}
	if s.arrival.Load() != note {
		s.arrival.Store(note)
	}
	if note != 0 && !s.looked.Load() && s.looked.CompareAndSwap(false, true) {
		s.server.arrivals.add(s)
	}
}

// arrivals looks at the frames that are coming. It has no timer while there are none.
type arrivals struct {
	limit time.Duration // immutable: for each piece; 0: none

	mu    sync.Mutex
	conns []*Conn     // guarded by mu: those whose notes are looked at
	timer *time.Timer // guarded by mu; nil before the first connection
	busy  bool        // guarded by mu: the timer is set, or a look is under way
}

// period is how far apart looks are.
func (a *arrivals) period() time.Duration { return max(a.limit/pulse.PieceLooks, time.Millisecond) }

// add has s looked at from the next look on.
func (a *arrivals) add(s *Conn) {
	if a.limit == 0 {
		return
	}
	s.lookAtArrival(time.Now(), a.limit)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns = append(a.conns, s)
	if a.busy {
		return
	}
	a.busy = true
	if a.timer == nil {
		a.timer = time.AfterFunc(a.period(), a.look)
		return
	}
	a.timer.Reset(a.period())
}

// look ends the connections whose frames do not go on. It runs on the timer's goroutine.
func (a *arrivals) look() {
	a.mu.Lock()
	conns := a.conns
	a.conns = nil
	a.mu.Unlock()
	now := time.Now()
	kept := conns[:0]
	for _, s := range conns {
		if s.checkArrival(now, a.limit) {
			kept = append(kept, s)
		}
	}
	clear(conns[len(kept):])
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns = append(kept, a.conns...)
	if a.busy = len(a.conns) > 0; a.busy {
		a.timer.Reset(a.period())
	}
}

// lookAtArrival decides whether the frame that is coming takes too long.
func (s *Conn) lookAtArrival(now time.Time, limit time.Duration) (coming, overdue bool) {
	note := s.arrival.Load()
	a := pulse.Arrival{Begun: note != 0}
	if a.Begun {
		a.Whole = note >> pieceBits
		a.Bytes = int64(note&(1<<pieceBits-1)-1) * pulse.PieceBytes
	}
	overdue = s.pieces.IsOverdue(now, limit, a)
	return a.Begun, overdue
}

// checkArrival ends the connection if its frame does not go on. It reports whether to look again.
func (s *Conn) checkArrival(now time.Time, limit time.Duration) bool {
	switch coming, overdue := s.lookAtArrival(now, limit); {
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
	s.looked.Store(false)
	return s.arrival.Load() != 0 && s.looked.CompareAndSwap(false, true) // one may have begun meanwhile
}
