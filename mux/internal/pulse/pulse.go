package pulse

import "time"

// Pulse is what is known about a peer's signs of life. The zero value knows nothing. It has no
// lock of its own.
type Pulse struct {
	heard    uint64        // Signs.Heard at the last look that found a sign
	waited   time.Duration // Signs.Waited then
	at       time.Time     // when that was, less the lateness of later looks; zero: never
	lookedAt time.Time     // the last look
	kickedAt time.Time     // when the reader was last told to look up, or that was needless
	pinged   bool          // a ping was sent since the last sign
}

// Signs are what a connection shows of its peer at a look.
type Signs struct {
	// Heard is how much has come so far. An increase since the last look is a sign.
	Heard uint64

	// Waited is how long writes have waited so far, if the peer took something in the end. If it
	// grows with the clock that is a sign. What the kernel takes at once says nothing: it takes as
	// much for a peer that is gone.
	Waited time.Duration

	// Excused says that the peer's silence means nothing now, which counts as a sign.
	Excused bool

	// Outstanding is how many bytes of requests the peer has not answered or, for oneways, may not
	// have read. They may be on their way, ahead of a ping. Only a Suspicion uses it: a Rhythm's
	// Interval must be long enough for them.
	Outstanding int64
}

// Rhythm is how a connection is looked at. There must be at least four looks per Interval.
type Rhythm struct {
	// Interval is how long after the last sign a ping goes out at the latest. The peer has half as
	// much time to answer it, and a peer that is gone is found within twice the Interval.
	Interval time.Duration

	// MostPause is the longest pause between two looks that is normal. If a pause is longer, this
	// process did not run in the excess time, and cannot have read an answer.
	MostPause time.Duration
}

// Health says what a look at a connection found.
type Health uint8

// What a look finds. A caller that knows of parts of frames without a kick treats Kick as Good.
const (
	Good   Health = iota // there was a sign of life lately
	Kick                 // the reader must say whether a part of a frame has come
	Ask                  // the same, and a ping is due
	Silent               // a ping was not answered
)

// String returns the finding's name.
func (h Health) String() string { return [...]string{"good", "kick", "ask", "silent"}[h] }

// Look decides whether there was a sign of life lately. It finds frames that came since the last
// look. The reader reports a part of a frame only after a kick, so Look finds that at the next look
// but one.
func (p *Pulse) Look(now time.Time, rhythm Rhythm, signs Signs) Health {
	interval := rhythm.Interval
	if late := now.Sub(p.lookedAt) - rhythm.MostPause; late > 0 && !p.at.IsZero() {
		p.at = p.at.Add(late)
	}
	p.lookedAt = now
	quiet := now.Sub(p.at)
	switch {
	case p.at.IsZero() || signs.Excused || signs.Heard != p.heard || signs.Waited-p.waited >= interval/16:
		*p = Pulse{heard: signs.Heard, waited: signs.Waited, at: now, lookedAt: now, kickedAt: now}
		return Good
	case p.pinged && quiet >= interval+interval/2:
		return Silent
	case !p.pinged && quiet >= interval-interval/4:
		p.pinged, p.kickedAt = true, now
		return Ask
	case now.Sub(p.kickedAt) >= interval/8:
		p.kickedAt = now
		return Kick
	}
	return Good
}
