package pool

import (
	"fmt"
	"io"
	"slices"

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
	stats := MuxStats{Stats: p.forgotten}
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

// MuxDump is what Dump returns.
type MuxDump struct {
	Service string
	Config  MuxConfig // with the defaults filled in
	MuxStats
}

// Dump returns a MuxDump, which Kitex's diagnosis service shows as JSON.
func (p *Mux) Dump() any {
	return MuxDump{Service: p.service, Config: p.config, MuxStats: p.Stats()}
}

// DumpText writes the pool's state as text for people: a line for each address, one for each of its
// shared connections, and one for those that are not shared.
func (p *Mux) DumpText(w io.Writer) error {
	for _, a := range p.Stats().Addresses {
		t := p.lookup(netAddr{a.Network, a.Address})
		if t == nil {
			continue // it has just been given up
		}
		if _, err := fmt.Fprintf(w, "%s: %s %s, ", p.service, a.Network, a.Address); err != nil {
			return err
		}
		if err := t.DumpText(w); err != nil {
			return err
		}
		if pr := p.apart.lookup(netAddr{a.Network, a.Address}); pr != nil {
			if _, err := fmt.Fprintf(w, "  not shared: %s\n", pr.snapshot().describe()); err != nil {
				return err
			}
		}
	}
	return nil
}
