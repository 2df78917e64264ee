package pool

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kiteline/kiteline/mux"
)

// MuxAddressStats is the mux.Stats of one address. InFlight, Deaths, Drains and Aged also count
// connections that are not shared and their calls. Drains counts such a connection when it is
// closed for its idle time or age, by Clean, or because enough are idle. Frames, Batches and Writes
// count what the Set has sent.
type MuxAddressStats struct {
	Network string
	Address string
	mux.Stats
}

// MuxStats is a snapshot of a Mux: the sum of all addresses, those that were cleaned or
// forgotten included, and each address that is known now.
type MuxStats struct {
	mux.Stats
	Addresses []MuxAddressStats // by network and address
}

// Stats returns a snapshot. Its counts never fall, not even after Close. It may be called from any
// goroutine and does not block.
func (p *Mux) Stats() MuxStats {
	p.mu.Lock()
	stats := MuxStats{Stats: p.forgotten, Addresses: []MuxAddressStats{}}
	for t := range p.retired {
		stats.Add(t.Stats())
	}
	p.targets.Range(func(key, value any) bool {
		addr, _ := key.(netAddr)
		t, _ := value.(*muxTarget)
		counts := t.Stats()
		stats.Add(counts)
		if pr := p.apart.lookup(addr); pr != nil {
			counts.Add(statsApart(pr.snapshot()))
		}
		stats.Addresses = append(stats.Addresses, MuxAddressStats{addr.network, addr.address, counts})
		return true
	})
	stats.Add(statsApart(p.apart.Stats().Counts))
	p.mu.Unlock()
	slices.SortFunc(stats.Addresses, func(a, b MuxAddressStats) int {
		return netAddr{a.Network, a.Address}.compare(netAddr{b.Network, b.Address})
	})
	return stats
}

// statsApart returns what the pool of connections that are not shared adds to the Set's figures,
// which already count the connections.
func statsApart(c Counts) mux.Stats {
	return mux.Stats{
		InFlight: c.InUse,
		Deaths:   c.ClosedDead,
		Drains:   c.ClosedExpired + c.ClosedAge + c.ClosedSurplus + c.ClosedCleaned,
		Aged:     c.ClosedAge,
	}
}

// MuxDump is what Mux.Dump returns, for Kitex's diagnosis.
type MuxDump struct {
	Service string
	Config  MuxConfig // with the defaults filled in
	MuxStats
}

// Dump returns a MuxDump, which Kitex's diagnosis service shows as JSON.
func (p *Mux) Dump() any {
	return MuxDump{Service: p.service, Config: p.config, MuxStats: p.Stats()}
}

// DumpText writes the pool's state as text for people: a line for the pool, one for each address,
// one for each of its shared connections, and one for those that are not shared.
func (p *Mux) DumpText(w io.Writer) error {
	var text strings.Builder
	stats := p.Stats()
	fmt.Fprintf(&text, "%s: connections %d (%d shared, %d not, %d draining, %d dialing), calls in flight %d, waiting %d\n",
		p.service, stats.Connections, stats.Shared, stats.Pooled, stats.Draining, stats.Dialing, stats.InFlight, stats.Waiting)
	for _, a := range stats.Addresses {
		t := p.lookup(netAddr{a.Network, a.Address})
		if t == nil {
			continue // it has just been given up
		}
		var set strings.Builder
		_ = t.DumpText(&set) // a Builder takes everything
		fmt.Fprintf(&text, "  %s %s, %s", a.Network, a.Address, strings.ReplaceAll(set.String(), "\n  ", "\n    "))
		if pr := p.apart.lookup(netAddr{a.Network, a.Address}); pr != nil {
			fmt.Fprintf(&text, "    not shared: %s\n", pr.snapshot().describe())
		}
	}
	_, err := io.WriteString(w, text.String())
	return err
}
