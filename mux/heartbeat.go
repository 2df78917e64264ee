package mux

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// healthLocked looks at a connection. Only the peer of a shared one answers pings. A peer that
// takes bytes gives signs of life only while there are more bytes than it can take at once.
func (s *Set) healthLocked(cc *clientConn, now time.Time) pulse.Health {
	interval := s.config.Heartbeat
	if interval <= 0 || mode(cc.mode.Load()) != modeShared || cc.isHalfClosed() {
		return pulse.Good
	}
	return cc.upkeep.pulse.Look(now, pulse.Rhythm{Interval: interval, MostPause: interval / 2},
		cc.signs())
}
