package poller

import (
	"hash/maphash"
	"math/rand/v2"
	"net"
	"net/netip"
)

// Policy says how a Group distributes descriptors over its pollers.
type Policy uint8

const (
	// RoundRobin takes the pollers in turn.
	RoundRobin Policy = iota

	// Random takes any poller, each with the same probability.
	Random

	// LeastConnections takes a poller with the fewest tokens in use; among equals, in turn. It
	// evens out what coming and going connections have made uneven, and looks at every poller to do
	// so.
	LeastConnections

	// SourceHash takes the same poller for the same remote IP address, whatever its port, while the
	// group keeps its size. The hash is seeded per group, so that no client can choose addresses
	// that meet in one poller. For an address without an IP (a Unix socket's, or nil) it does what
	// RoundRobin does.
	SourceHash
)

// String returns the policy's name.
func (p Policy) String() string {
	switch p {
	case RoundRobin:
		return "round robin"
	case Random:
		return "random"
	case LeastConnections:
		return "least connections"
	case SourceHash:
		return "source hash"
	}
	return "invalid"
}

// valid reports whether p is one of the constants.
func (p Policy) valid() bool { return p <= SourceHash }

// choose returns one of pollers, which is not empty, by the group's policy.
func (g *Group) choose(pollers []*Poller, remote net.Addr) *Poller {
	if len(pollers) == 1 {
		return pollers[0]
	}
	switch g.config.Policy {
	case Random:
		return pollers[rand.IntN(len(pollers))]
	case LeastConnections:
		return leastConnections(pollers, g.turn(len(pollers)))
	case SourceHash:
		if ip, ok := remoteIP(remote); ok {
			bytes := ip.As16() // the same for an IPv4 address and its mapped form
			return pollers[maphash.Bytes(g.seed, bytes[:])%uint64(len(pollers))]
		}
	}
	return pollers[g.turn(len(pollers))]
}

// turn counts up and returns an index below n. The counter is unsigned: it wraps, and no index is
// ever negative.
func (g *Group) turn(n int) int {
	return int(g.turns.Add(1) % uint64(n))
}

// leastConnections returns a poller with the fewest tokens, the first one found from start on.
func leastConnections(pollers []*Poller, start int) *Poller {
	least := pollers[start]
	fewest := least.Len()
	for i := 1; i < len(pollers) && fewest > 0; i++ {
		p := pollers[(start+i)%len(pollers)]
		if n := p.Len(); n < fewest {
			least, fewest = p, n
		}
	}
	return least
}

// remoteIP returns the IP address in addr, if it has one.
func remoteIP(addr net.Addr) (netip.Addr, bool) {
	switch a := addr.(type) {
	case nil:
		return netip.Addr{}, false
	case *net.TCPAddr:
		if a == nil {
			return netip.Addr{}, false
		}
		return netip.AddrFromSlice(a.IP)
	case *net.UnixAddr:
		return netip.Addr{}, false
	}
	// Any other type, such as a wrapper that returns the address from a proxy's header.
	addrPort, err := netip.ParseAddrPort(addr.String())
	return addrPort.Addr(), err == nil
}
