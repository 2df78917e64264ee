//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kiteline/kiteline/tests/bench/internal/peer"
	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// The sets: measurements that are requested together and shown in one table.
const (
	setCalls        = "calls"         // closed loop of RPCs
	setTimeout      = "timeout"       // the same with an RPC timeout
	setPayload      = "payload"       // other sizes
	setWork         = "work"          // a handler that takes CPU time
	setOpen         = "open"          // open loop
	setPinned       = "pinned"        // low load, on one processor and on two
	setChain        = "chain"         // a service in the middle: generator, front, back
	setPlain        = "plain"         // closed loop of echoes without a framework
	setPlainPayload = "plain-payload" // other sizes
	setPlainPinned  = "plain-pinned"  // low load, on one processor and on two
	setIdle         = "idle"          // connections that do nothing
	setPlainIdle    = "plain-idle"
)

// Values of result.Key.CPUs.
const (
	oneCPU  = "one" // server and client on the same
	twoCPUs = "two" // each on its own
	anyCPUs = ""    // all that the run may use
)

const (
	usualSize    = 1024 // bytes; in all sets except those of payloads
	usualCallers = 100  // in the sets that vary something else
	largeCallers = 10   // for payloads from largeSize on; 100 callers would only queue them
	largeSize    = 1 << 20
)

// defaultBaselines are the variants that ratios refer to unless the run says otherwise.
const (
	defaultBaseline      = "kitex"
	defaultPlainBaseline = "netpoll"
)

// set is a named part of the plan.
type set struct {
	name  string
	kind  kind
	loads func(opt *options) []result.Key // without a variant
}

// kind says what is measured, and on which peers.
type kind string

const (
	kindRPC       kind = "rpc"        // peer.RPCs under load
	kindChain     kind = "chain"      // peer.RPCs that relay
	kindPlain     kind = "plain"      // peer.Plains under load
	kindIdleRPC   kind = "idle rpc"   // peer.RPCs with idle connections
	kindIdlePlain kind = "idle plain" // peer.Plains with idle connections
)

// sets returns all sets in the order in which they are measured.
func sets() []set {
	return []set{
		{setCalls, kindRPC, closedLoads},
		{setTimeout, kindRPC, timeoutLoads},
		{setPayload, kindRPC, payloadLoads},
		{setWork, kindRPC, func(opt *options) []result.Key {
			return []result.Key{{Callers: usualCallers, Size: usualSize, Burn: opt.burn}}
		}},
		{setOpen, kindRPC, openLoads},
		{setPinned, kindRPC, pinnedLoads(1, 10)},
		{setChain, kindChain, chainLoads},
		{setPlain, kindPlain, closedLoads},
		{setPlainPayload, kindPlain, payloadLoads},
		{setPlainPinned, kindPlain, pinnedLoads(1)},
		{setIdle, kindIdleRPC, idleLoads},
		{setPlainIdle, kindIdlePlain, idleLoads},
	}
}

func setNames() []string {
	var names []string
	for _, s := range sets() {
		names = append(names, s.name)
	}
	return names
}

// closedLoads varies the number of callers.
func closedLoads(opt *options) []result.Key { return perCallers(opt.callers, result.Key{}) }

// perCallers returns load once for each number of callers.
func perCallers(counts []int, load result.Key) []result.Key {
	var loads []result.Key
	for _, n := range counts {
		load.Callers, load.Size = n, usualSize
		loads = append(loads, load)
	}
	return loads
}

// timeoutLoads shows the cost of a timeout where hops matter most, and under load.
func timeoutLoads(opt *options) []result.Key {
	return perCallers([]int{1, usualCallers}, result.Key{Timeout: opt.timeout})
}

func payloadLoads(opt *options) []result.Key {
	var loads []result.Key
	for _, size := range opt.sizes {
		callers := usualCallers
		if size >= largeSize {
			callers = largeCallers
		}
		loads = append(loads, result.Key{Callers: callers, Size: size})
	}
	return loads
}

// openCallers is how many calls of the open loop may be in flight.
const openCallers = 256

func openLoads(opt *options) []result.Key {
	var loads []result.Key
	for _, share := range opt.shares {
		loads = append(loads, result.Key{Callers: openCallers, Size: usualSize, Share: share})
	}
	return loads
}

// viaStock is result.Key.Via for a front service that is called by the stock client.
const viaStock = defaultBaseline

// chainLoads has every hop on the same framework, and the front called by a stock client.
func chainLoads(opt *options) []result.Key {
	var loads []result.Key
	for _, via := range []string{"", viaStock} {
		loads = append(loads, result.Key{Callers: usualCallers, Size: usualSize, Via: via})
		for _, share := range opt.chainShares {
			loads = append(loads, result.Key{Callers: openCallers, Size: usualSize, Share: share, Via: via})
		}
	}
	return loads
}

// pinnedLoads has few callers, so its figures depend on which processor wakes which.
func pinnedLoads(callers ...int) func(opt *options) []result.Key {
	return func(*options) []result.Key {
		return append(perCallers(callers, result.Key{CPUs: oneCPU}), perCallers(callers, result.Key{CPUs: twoCPUs})...)
	}
}

func idleLoads(opt *options) []result.Key {
	return []result.Key{{Callers: opt.idle, Size: usualSize}}
}

// group is one load and the variants that are measured under it side by side.
type group struct {
	kind kind
	keys []result.Key // one per variant
}

// planGroups returns the groups that opt asks for, in order.
func planGroups(opt *options) ([]group, error) {
	known := setNames()
	for _, name := range opt.sets {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown set %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	if err := checkVariants(opt); err != nil {
		return nil, err
	}
	var groups []group
	for _, s := range sets() {
		if len(opt.sets) > 0 && !slices.Contains(opt.sets, s.name) {
			continue
		}
		for _, load := range s.loads(opt) {
			g := group{kind: s.kind}
			for _, variant := range selectedVariants(opt, s.kind) {
				key := load
				key.Set, key.Variant = s.name, variant
				g.keys = append(g.keys, key)
			}
			groups = append(groups, g)
		}
	}
	return groups, nil
}

// checkVariants returns an error for a name that no kind knows.
func checkVariants(opt *options) error {
	known := append(variantNames(kindRPC), variantNames(kindPlain)...)
	for _, name := range append(slices.Clone(opt.variants), opt.baseline) {
		if name != "" && !slices.Contains(known, name) {
			slices.Sort(known)
			return fmt.Errorf("unknown variant %q; there are %s", name, strings.Join(slices.Compact(known), ", "))
		}
	}
	return nil
}

// selectedVariants returns the variants of kind that opt asks for, and their baseline.
func selectedVariants(opt *options, of kind) []string {
	names := variantNames(of)
	if len(opt.variants) == 0 {
		return names
	}
	baseline := baselineOf(opt, of)
	return slices.DeleteFunc(names, func(name string) bool {
		return name != baseline && !slices.Contains(opt.variants, name)
	})
}

// variantNames returns all variants of kind.
func variantNames(of kind) []string {
	var names []string
	switch of {
	case kindPlain, kindIdlePlain:
		for _, p := range peer.Plains() {
			names = append(names, p.Name)
		}
	case kindRPC:
		for _, r := range peer.RPCs() {
			names = append(names, r.Name)
		}
	case kindChain:
		names = chainRPCs()
	case kindIdleRPC:
		names = framedRPCs()
	}
	return names
}

// baselineOf returns the variant of kind that ratios refer to.
func baselineOf(opt *options, of kind) string {
	if opt.baseline != "" && slices.Contains(variantNames(of), opt.baseline) {
		return opt.baseline
	}
	if of == kindPlain || of == kindIdlePlain {
		return defaultPlainBaseline
	}
	return defaultBaseline
}
