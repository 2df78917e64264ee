package pulse

import "time"

// Pulse is what is known about a peer's signs of life. The zero value knows nothing. It has no
// lock of its own.
type Pulse struct {
	heard    uint64        // Signs.Heard at the last look that found a sign
	waited   time.Duration // Signs.Waited then
	at       time.Time     // when that was, later looks that were late taken off; zero: never
	lookedAt time.Time     // the last look
	kickedAt time.Time     // when the reader was last told to look up, or that was needless
	pinged   bool          // a ping was sent since the last sign
}

// Signs are what a connection shows of its peer at a look.
type Signs struct {
	// Heard is how much has come so far. More than at the look before is a sign.
	Heard uint64

	// Waited is how long writes have waited so far of which the peer has taken something at last.
	// If it grows with the clock that is a sign. What the kernel takes for a peer that keeps up
	// says nothing: it takes as much for one that is gone.
	Waited time.Duration

	// Excused says that the peer's silence means nothing now, which counts as a sign.
	Excused bool

	// Outstanding is how many bytes of requests the peer has not answered, or, of oneways, may not
	// have read. They may be on their way, ahead of a ping. Only a Suspicion looks at it: an
	// interval is to be long enough for them.
	Outstanding int64
}

// Rhythm is how a connection is looked at. There have to be at least four looks per Interval.
type Rhythm struct {
	// Interval is within how long after the last sign a ping goes out. It has half as much to be
	// answered, and a peer that is gone is found within twice as much.
	Interval time.Duration

	// MostPause is how far apart two looks are where this process is not to blame. By what they are
	// further apart it did not run, and nobody can have read an answer.
	MostPause time.Duration
}

// Health says what a look at a connection found.
type Health uint8

// What a look finds. Who knows of parts of frames without a kick takes Kick for Good.
const (
	Good   Health = iota // there was a sign of life lately
	Kick                 // the reader has to say whether a part of a frame has come
	Ask                  // that, and a ping is due
	Silent               // a ping was not answered
)

// String returns the finding's name.
func (h Health) String() string { return [...]string{"good", "kick", "ask", "silent"}[h] }

// Look decides whether there was a sign of life lately. One finds frames that came since the look
// before; of a frame that is still coming the reader tells after a kick, so one finds it at the
// next but one.
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
