package pulse

import "time"

// PieceBytes is how much of a frame must come within the read timeout.
const PieceBytes = 256 << 10

// PieceLooks is the least number of looks in a read timeout.
const PieceLooks = 8

// Pieces judges whether a frame that has begun goes on: each piece of PieceBytes must come within a
// read timeout, and so must the rest of the frame. It does not excuse a peer that says other things
// meanwhile, or sends a byte now and then. The zero value has seen nothing. It has no lock of its
// own.
type Pieces struct {
	whole    uint64    // Arrival.Whole at the last look that found something new
	pieces   int64     // whole pieces of the frame that had come then
	since    time.Time // when that was, less the lateness of later looks; zero: no frame
	lookedAt time.Time // the last look
}

// Arrival is what has come on a connection at a look.
type Arrival struct {
	Whole uint64 // frames that have come whole so far
	Begun bool   // a frame has begun since
	Bytes int64  // how many bytes of it have come
}

// IsOverdue decides whether the frame that has begun, if any, takes longer than limit. It must be
// called PieceLooks times per limit while a frame has begun. The answer is late by at most one such
// period, and never early. If a look is later than two periods, this process did not run in the
// excess time, and cannot have read what came: that time does not count.
func (p *Pieces) IsOverdue(now time.Time, limit time.Duration, a Arrival) bool {
	late := now.Sub(p.lookedAt) - 2*limit/PieceLooks
	p.lookedAt = now
	pieces := a.Bytes / PieceBytes
	switch {
	case !a.Begun:
		*p = Pieces{}
		return false
	case p.since.IsZero() || a.Whole != p.whole || pieces != p.pieces:
		p.whole, p.pieces, p.since = a.Whole, pieces, now
		return false
	case late > 0:
		p.since = p.since.Add(late)
	}
	return now.Sub(p.since) >= limit
}
