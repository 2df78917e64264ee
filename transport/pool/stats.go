package pool

import (
	"slices"
)

// Counts counts what a pool, or one address of it, has and has done. At every moment Idle +
// InUse + Dialing == Open, and Dials - DialErrors == Idle + InUse + all that were closed or
// discarded.
type Counts struct {
	Open    int // connections open or being opened; limited by MaxConnsPerAddress
	Idle    int // connections in the pool
	InUse   int // connections handed out, or being checked or closed
	Dialing int // connections being opened
	Waiting int // calls of Get that wait for a connection

	Dials        uint64 // dials that have ended
	DialErrors   uint64 // dials that failed
	Reuses       uint64 // calls of Get that got a connection used before
	Waits        uint64 // calls of Get that waited
	WaitTimeouts uint64 // of those, the calls whose context ended first

	Discarded     uint64 // closed by Discard, or by Close of the connection
	ClosedDead    uint64 // closed because the peer had closed, or sent unexpected bytes
	ClosedExpired uint64 // closed for MaxIdleTimeout, or near the peer's idle timeout
	ClosedAge     uint64 // closed because of MaxAge
	ClosedSurplus uint64 // closed because enough were idle
	ClosedCleaned uint64 // closed because of Clean or the pool's Close
}

// AddressStats is Counts of one address.
type AddressStats struct {
	Network string
	Address string
	Counts
}

// Stats is a snapshot of a pool: the sum of all addresses, forgotten ones included, and each
// address that is known now.
type Stats struct {
	Counts
	Addresses []AddressStats // by network and address
}

// Dump is what Pool.Dump returns, for Kitex's diagnosis.
type Dump struct {
	Service string
	Config  Config // with the defaults filled in
	Stats
}

// closeReason says why the pool closes a connection.
type closeReason uint8

const (
	notClosed     closeReason = iota // it is kept
	closedDiscard                    // its user has discarded it
	closedDead                       // the peer has gone, or has sent unexpected bytes
	closedExpired                    // idle for MaxIdleTimeout, or near its peer's idle timeout
	closedAge                        // it is older than its MaxAge
	closedSurplus                    // enough connections are idle
	closedCleaned                    // its address was cleaned, or the pool is closed
)

// String returns the reason in a word.
func (r closeReason) String() string {
	names := [...]string{"not closed", "discarded", "dead", "expired", "aged", "surplus", "cleaned"}
	if int(r) >= len(names) {
		return "invalid"
	}
	return names[r]
}

// closed counts a connection that was closed for reason.
func (c *Counts) closed(reason closeReason) {
	switch reason {
	case closedDiscard:
		c.Discarded++
	case closedDead:
		c.ClosedDead++
	case closedExpired:
		c.ClosedExpired++
	case closedAge:
		c.ClosedAge++
	case closedSurplus:
		c.ClosedSurplus++
	case closedCleaned:
		c.ClosedCleaned++
	default:
		panic("pool: BUG: connection closed without a reason: " + reason.String())
	}
}

// add adds d to c.
func (c *Counts) add(d *Counts) {
	c.Open += d.Open
	c.Idle += d.Idle
	c.InUse += d.InUse
	c.Dialing += d.Dialing
	c.Waiting += d.Waiting
	c.Dials += d.Dials
	c.DialErrors += d.DialErrors
	c.Reuses += d.Reuses
	c.Waits += d.Waits
	c.WaitTimeouts += d.WaitTimeouts
	c.Discarded += d.Discarded
	c.ClosedDead += d.ClosedDead
	c.ClosedExpired += d.ClosedExpired
	c.ClosedAge += d.ClosedAge
	c.ClosedSurplus += d.ClosedSurplus
	c.ClosedCleaned += d.ClosedCleaned
}

// Stats returns a snapshot. Each address is consistent in itself, and so are the sums. It may be
// called from any goroutine, also after Close, and does not block.
func (p *Pool) Stats() Stats {
	p.mu.RLock()
	defer p.mu.RUnlock()
	stats := Stats{Counts: p.forgotten, Addresses: make([]AddressStats, 0, len(p.peers))}
	for _, pr := range p.peers {
		counts := pr.snapshot()
		stats.add(&counts)
		stats.Addresses = append(stats.Addresses, AddressStats{pr.addr.network, pr.addr.address, counts})
	}
	slices.SortFunc(stats.Addresses, func(a, b AddressStats) int {
		return netAddr{a.Network, a.Address}.compare(netAddr{b.Network, b.Address})
	})
	return stats
}

// Dump returns a Dump, which Kitex's diagnosis service shows as JSON.
func (p *Pool) Dump() any {
	return Dump{Service: p.service, Config: p.config, Stats: p.Stats()}
}

// snapshot returns the peer's counts as they are now.
func (pr *peer) snapshot() Counts {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.countsLocked()
}

func (pr *peer) countsLocked() Counts {
	counts := pr.counts
	counts.Reuses = pr.reuses.Load()
	return counts
}
