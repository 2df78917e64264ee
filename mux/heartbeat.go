package mux

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// healthLocked looks at a connection. Only a shared one has a peer that answers pings. Of bytes
// that it takes a peer gives signs while there were more than it could take at once.
func (s *Set) healthLocked(cc *clientConn, now time.Time) pulse.Health {
	interval := s.config.Heartbeat
	if interval <= 0 || mode(cc.mode.Load()) != modeShared || cc.isHalfClosed() {
		return pulse.Good
	}
	return cc.pulse.Look(now, pulse.Rhythm{Interval: interval, MostPause: interval / 2},
		cc.signs())
}
