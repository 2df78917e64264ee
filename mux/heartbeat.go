package mux

import "time"

// pulse is what is known about a peer's signs of life: frames and bytes that came, and
// bytes that it took while there were more than it could take at once. What the kernel
// takes for a peer that keeps up says nothing: it takes as much for one that is gone.
type pulse struct {
	heard    uint64        // progress at the last look that found a sign
	waited   time.Duration // how long writes had waited then
	at       time.Time     // when that was, later looks that were late taken off; zero: never
	lookedAt time.Time     // the last look
	kickedAt time.Time     // when the reader was last told to look up, or that was needless
	pinged   bool          // a ping was sent since the last sign
}

// health says what a look at a connection found.
type health uint8

const (
	healthGood   health = iota // something was received lately, or nobody wants to know
	healthKick                 // the reader has to say whether a part of a frame has come
	healthAsk                  // that, and a ping is due
	healthSilent               // a ping was not answered
)

// String returns the finding's name.
func (h health) String() string { return [...]string{"good", "kick", "ask", "silent"}[h] }

// look decides whether there was a sign of life lately, from what has been received and how
// long writes have waited by now.
//
// There are at least four looks per interval. One finds frames that came since the one before;
// of a frame that is still coming the reader tells after a kick, so one finds it at the
// next but one. A ping goes out within an interval after the last sign and has half of one to be
// answered, and a peer that is gone is found within two.
func (p *pulse) look(now time.Time, interval time.Duration, heard uint64, waited time.Duration) health {
	if late := now.Sub(p.lookedAt) - interval/2; late > 0 && !p.at.IsZero() {
		p.at = p.at.Add(late) // this process did not run, so nobody can have read an answer
	}
	p.lookedAt = now
	quiet := now.Sub(p.at)
	switch {
	case p.at.IsZero() || heard != p.heard || waited-p.waited >= interval/16:
		*p = pulse{heard: heard, waited: waited, at: now, lookedAt: now, kickedAt: now}
		return healthGood
	case p.pinged && quiet >= interval+interval/2:
		return healthSilent
	case !p.pinged && quiet >= interval-interval/4:
		p.pinged, p.kickedAt = true, now
		return healthAsk
	case now.Sub(p.kickedAt) >= interval/8:
		p.kickedAt = now
		return healthKick
	}
	return healthGood
}

// healthLocked looks at a connection. Only a shared one has a peer that answers pings.
func (s *Set) healthLocked(cc *clientConn, now time.Time) health {
	if s.config.Heartbeat <= 0 || mode(cc.mode.Load()) != modeShared || cc.isHalfClosed() {
		return healthGood
	}
	return cc.pulse.look(now, s.config.Heartbeat, cc.progress.Load(), cc.out.waitedFor())
}
