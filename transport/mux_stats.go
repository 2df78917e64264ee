package transport

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/kiteline/kiteline/mux"
)

// MuxAddressStats is mux.Stats of one address.
type MuxAddressStats struct {
	Network string
	Address string
	mux.Stats
}

// Stats returns a snapshot of each address that is known, by network and address. It may
// be called from any goroutine and does not block.
func (p *MuxPool) Stats() []MuxAddressStats {
	targets := *p.targets.Load()
	list := make([]MuxAddressStats, 0, len(targets))
	for _, addr := range sortedAddrs(targets) {
		list = append(list, MuxAddressStats{addr.network, addr.address, targets[addr].Stats()})
	}
	return list
}

// MuxDump is what Dump returns.
type MuxDump struct {
	Service   string
	Config    MuxConfig // with the defaults filled in
	Addresses []MuxAddressStats
}

// Dump returns a MuxDump, which Kitex's diagnosis service shows as JSON.
func (p *MuxPool) Dump() any {
	return MuxDump{Service: p.service, Config: p.config, Addresses: p.Stats()}
}

// DumpText writes the state of each address and each of its connections for a person to read.
func (p *MuxPool) DumpText(w io.Writer) error {
	targets := *p.targets.Load()
	for _, addr := range sortedAddrs(targets) {
		if _, err := fmt.Fprintf(w, "%s: %s %s, ", p.service, addr.network, addr.address); err != nil {
			return err
		}
		if err := targets[addr].Dump(w); err != nil {
			return err
		}
	}
	return nil
}

func sortedAddrs(targets map[poolAddr]*muxTarget) []poolAddr {
	return slices.SortedFunc(maps.Keys(targets), func(a, b poolAddr) int {
		return cmp.Or(cmp.Compare(a.network, b.network), cmp.Compare(a.address, b.address))
	})
}
