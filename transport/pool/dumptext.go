package pool

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// DumpText writes the pool's state as text for people: a line for the pool, one for each address,
// and one for each idle connection, longest idle first.
func (p *Pool) DumpText(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s\n", p.service, p.Stats().describe())
	for _, pr := range p.sorted() {
		pr.dump(&text)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// sorted returns the peers by network and address.
func (p *Pool) sorted() []*peer {
	peers := p.list()
	slices.SortFunc(peers, func(a, b *peer) int { return a.addr.compare(b.addr) })
	return peers
}

// dump writes a line about the peer and one about each of its idle connections.
func (pr *peer) dump(text *strings.Builder) {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	fmt.Fprintf(text, "  %s %s, %v: %s\n", pr.addr.network, pr.addr.address, pr.state, pr.countsLocked().describe())
	now := pr.pool.now()
	for _, c := range pr.idle {
		fmt.Fprintf(text, "    idle for %v\n", (now - c.restedAt).Round(time.Millisecond))
	}
}

// describe returns the counts in a line.
func (c Counts) describe() string {
	closed := c.ClosedDead + c.ClosedExpired + c.ClosedAge + c.ClosedSurplus + c.ClosedCleaned
	return fmt.Sprintf("connections %d (%d idle, %d in use, %d dialing), waiting %d; dials %d (failed %d), reuses %d, waits %d (in vain %d); "+
		"discarded %d, closed %d (dead %d, expired %d, aged %d, surplus %d, cleaned %d)",
		c.Open, c.Idle, c.InUse, c.Dialing, c.Waiting, c.Dials, c.DialErrors, c.Reuses, c.Waits, c.WaitTimeouts,
		c.Discarded, closed, c.ClosedDead, c.ClosedExpired, c.ClosedAge, c.ClosedSurplus, c.ClosedCleaned)
}
