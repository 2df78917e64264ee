package mux

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is about frames that have begun and do not continue. Each 256 KiB of a frame has the
// read timeout. The reader notes that a frame has begun. Upkeep decides whether it continues, since
// a reader's own time may be over first, and there may be no reader.

// noteFrame records whether a frame has begun and not come whole. It is called before a wait for
// the rest of a frame and at the end of reading, and costs the reader nothing while frames come
// whole. Only the reader calls it.
func (cc *clientConn) noteFrame(begun bool) {
	if cc.arrived.partial.Load() == begun {
		return
	}
	cc.arrived.partial.Store(begun)
	if begun && cc.set.config.ReadTimeout > 0 && !cc.set.attentive.Load() {
		cc.set.attend()
	}
}

// attend has upkeep look soon enough for a frame that has begun.
func (s *Set) attend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.planUpkeepLocked(s.piecePeriod())
	s.attentive.Store(true)
}

// noteRest is noteFrame for what is in the buffer and what was taken from it already.
func (cc *clientConn) noteRest(in buffer.Reader) {
	cc.noteFrame(in.Len() > 0 || cc.reader.isMidFrame())
}

// piecePeriod is how often upkeep looks while a frame has begun.
func (s *Set) piecePeriod() time.Duration {
	return max(s.config.ReadTimeout/pulse.PieceLooks, time.Millisecond)
}

// isStalledLocked reports whether a frame that has begun on the connection has not come in time,
// and when the next look is due.
func (s *Set) isStalledLocked(cc *clientConn, now time.Time) (stalled bool, next time.Duration) {
	begun := cc.arrived.partial.Load()
	if s.config.ReadTimeout <= 0 {
		return false, s.restPeriod()
	}
	stalled = cc.upkeep.pieces.IsOverdue(now, s.config.ReadTimeout, pulse.Arrival{Whole: cc.arrived.progress.Load(), Begun: begun})
	if !begun {
		return false, s.restPeriod()
	}
	s.attentive.Store(true)
	cc.watchNow() // it may be unread
	return stalled, s.piecePeriod()
}
