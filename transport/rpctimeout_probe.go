package transport

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
)

// timeoutWay says what keeps the timeouts of a client's calls.
type timeoutWay uint8

const (
	// wayUntried: no probe has been sent. Calls are made as with wayOurs. Left when Kitex puts the
	// outer middleware around the inner one.
	wayUntried timeoutWay = iota

	// wayOurs: Kitex's middleware lets a sealed call pass on the goroutine that makes it. Never
	// left, and neither are those below.
	wayOurs

	// wayKitexs: Kitex's middleware limits calls, sealed or not, so it keeps the timeouts.
	wayKitexs

	// wayLate: Kitex's middleware neither limits a call nor lets a sealed one pass. The middleware
	// next to the transport begins the timedCall.
	wayLate
)

// String returns the way in a word.
func (w timeoutWay) String() string {
	switch w {
	case wayUntried:
		return "untried"
	case wayOurs:
		return "ours"
	case wayKitexs:
		return "Kitex's"
	case wayLate:
		return "late"
	}
	return "invalid"
}

// unsealed reports whether calls go through Kitex's middleware unchanged.
func (w timeoutWay) unsealed() bool { return w == wayKitexs || w == wayLate }

// timeoutProbe is the request of a call that the inner middleware ends.
type timeoutProbe struct {
	ctx context.Context // what arrived there; nil: the call did not get so far
}

// probeTimeout is the timeout of a call with a timeoutProbe, which itself takes no time.
const probeTimeout = time.Hour

// choose finds out how Kitex's middleware, the first part of next, treats the client's calls.
func (k *timeoutKeeper) choose(next endpoint.Endpoint) {
	if k.letsPass(next) {
		k.way = wayOurs
		return
	}
	adds, limits := k.kitexLimits(next)
	if limits {
		k.way = wayKitexs
		k.warn(fmt.Sprintf("Kitex keeps its timeouts, each call on a second goroutine, as with WithKitexTimeouts: "+
			"something has set its ExtraTimeout after the suite had, or Kitex is not as it was (a timeout gets %v more)", adds))
		return
	}
	k.way = wayLate
	k.warn("Kitex's middleware for timeouts is not as it was; calls end only where they wait for connections")
}

// letsPass reports whether next makes a sealed call with the context that it is given, and so on
// the same goroutine, although the call has a timeout and can be cancelled.
func (k *timeoutKeeper) letsPass(next endpoint.Endpoint) bool {
	ctx, cancel := context.WithCancel(k.probeContext())
	defer cancel()
	sealed := sealedCall{k.newCall(ctx, rpcinfo.GetRPCInfo(ctx))}
	defer sealed.end()
	seen, _ := sendProbe(sealed, next).(sealedCall)
	return seen == sealed
}

// kitexLimits reports whether next limits a call that is not sealed, and how much it adds to the
// timeout.
func (k *timeoutKeeper) kitexLimits(next endpoint.Endpoint) (adds time.Duration, limits bool) {
	seen := sendProbe(k.probeContext(), next)
	if seen == nil {
		return 0, false
	}
	deadline, limits := seen.Deadline()
	if !limits {
		return 0, false
	}
	return (time.Until(deadline) - probeTimeout).Round(time.Millisecond), true
}

// probeContext returns the context of a call that goes to no peer.
func (k *timeoutKeeper) probeContext() context.Context {
	cfg := rpcinfo.NewRPCConfig()
	_ = rpcinfo.AsMutableRPCConfig(cfg).SetRPCTimeout(probeTimeout) // new, so not locked
	return rpcinfo.NewCtxWithRPCInfo(context.Background(), rpcinfo.NewRPCInfo(
		rpcinfo.EmptyEndpointInfo(),
		rpcinfo.NewEndpointInfo(k.service, "kiteline-probe", nil, nil),
		rpcinfo.NewInvocation(k.service, "kiteline-probe"),
		cfg, rpcinfo.NewRPCStats(),
	))
}

// sendProbe returns the context with which a call with ctx arrives at the inner middleware; nil if
// it does not. A middleware in between is not expected, and may panic.
func sendProbe(ctx context.Context, next endpoint.Endpoint) context.Context {
	p := &timeoutProbe{}
	func() {
		defer func() { _ = recover() }()
		_ = next(ctx, p, nil)
	}()
	return p.ctx
}

// warn logs, once for each client, that the transport does not keep its timeouts, and why.
func (k *timeoutKeeper) warn(why string) {
	k.warned.Do(func() { klog.Warnf("KITELINE: client of %s: %s", k.service, why) })
}

// Kitex's service discovery is a middleware that this function of this package makes
// (client/middlewares.go). What the compiler puts between the two in the middleware's name depends
// on inlining.
const (
	discoveryPackage = "github.com/cloudwego/kitex/client."
	discoveryFunc    = ".newResolveMWBuilder."
)

// onlyLooks reports whether Done, its caller, was called by Kitex's service discovery. Service
// discovery asks every call for Done, once, only to see whether the channel is closed. It does not
// wait, so a channel that is never closed will do. Any other caller may wait, and keep the channel.
// If Kitex's code changes, its calls cost a channel and a timer.
func (k *timeoutKeeper) onlyLooks() bool {
	if k == nil {
		return false
	}
	var callers [1]uintptr
	const done = 3 // runtime.Callers is 0, this function 1, Done 2
	if runtime.Callers(done, callers[:]) == 0 {
		return false
	}
	if callers[0] == k.discovery.Load() {
		return true
	}
	if !isDiscovery(callers[0]) {
		return false
	}
	k.discovery.Store(callers[0])
	return true
}

// isDiscovery reports whether a caller is Kitex's service discovery.
func isDiscovery(caller uintptr) bool {
	frame, _ := runtime.CallersFrames([]uintptr{caller}).Next()
	return strings.HasPrefix(frame.Function, discoveryPackage) && strings.Contains(frame.Function, discoveryFunc)
}
