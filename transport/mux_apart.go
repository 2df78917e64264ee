package transport

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// This file is how a call of a MuxPool finds its connection. It takes a place on a shared
// connection, or else an idle connection that is not shared. Failing both it waits for whichever
// comes first: a place, a new connection, which the Set opens, or a connection that another call
// gives back. A call that waits is in two queues, the Set's and the pool's.

// muxLimits returns how long the call with context ctx may wait: until a context is done, and until
// a deadline, zero for none. For a timedCall these are its deadline and its caller's context, which
// cost neither a timer nor a channel.
func muxLimits(ctx context.Context) (context.Context, time.Time) {
	if t := timedCallOf(ctx, rpcinfo.GetRPCInfo(ctx)); t != nil {
		return t.caller, t.deadline
	}
	return ctx, time.Time{}
}

// isOneway reports whether the call with context ctx has no reply.
func isOneway(ctx context.Context) bool {
	info := rpcinfo.GetRPCInfo(ctx)
	if info == nil || info.Invocation() == nil {
		return false
	}
	method := info.Invocation().MethodInfo()
	return method != nil && method.OneWay()
}

// place finds a connection to addr, which t is for. The error is t's or the pool's.
func (p *MuxPool) place(ctx context.Context, addr poolAddr, t *muxTarget) (net.Conn, error) {
	caller, deadline := muxLimits(ctx)
	if call, ok := t.BeginShared(caller, deadline); ok {
		return p.takeCall(call), nil
	}
	for {
		pr, err := p.apart.peer(addr)
		if err != nil {
			return nil, err
		}
		c, err := p.placeSlow(ctx, t, pr)
		if c != nil || err != nil && !errors.Is(err, errForgotten) {
			return c, err
		}
	}
}

// placeSlow takes an idle connection of pr, or waits. It may return nil without an error: then the
// connection it got was of no use, and there may be another.
//
// A oneway call leaves idle connections alone while another one can be opened. An exception may
// still come for a oneway, so Kitex closes its connection. The Set can tell whose reply a frame is,
// so it keeps the connection.
func (p *MuxPool) placeSlow(ctx context.Context, t *muxTarget, pr *poolPeer) (net.Conn, error) {
	if isOneway(ctx) && t.Opens() {
		c, err := p.await(ctx, pr, pr.queue(), t.BeginSoon)
		if !errors.Is(err, mux.ErrElsewhere) {
			return c, err
		}
	}
	return p.await(ctx, pr, pr.claim(), t.BeginUnless)
}

// await returns what was claimed of pr, or waits for pr and, with begin, for a place in the Set. It
// uses the connection that it is granted, whatever the Set says meanwhile, unless the call's time
// is over.
func (p *MuxPool) await(ctx context.Context, pr *poolPeer, got claim, begin beginFunc) (net.Conn, error) {
	if got.waiter == nil {
		return pr.use(got)
	}
	caller, deadline := muxLimits(ctx)
	call, err := begin(caller, deadline, got.waiter.granted)
	got = pr.leaveQueue(got.waiter)
	isOver := caller.Err() != nil || !deadline.IsZero() && !time.Now().Before(deadline)
	isGranted := got.conn != nil || got.err != nil
	if isGranted && err != nil && (!isOver || errors.Is(err, mux.ErrElsewhere)) {
		return pr.use(got)
	}
	if got.conn != nil {
		_ = pr.put(got.conn.current())
	}
	if err != nil {
		return nil, err
	}
	return p.takeCall(call), nil
}

// beginFunc is a method of a Set that begins calls.
type beginFunc func(ctx context.Context, deadline time.Time, elsewhere <-chan struct{}) (*mux.Call, error)

// keepApart takes a connection of t that is not shared. t was addr's target. keepApart closes the
// connection if the address was cleaned since: Clean removes t from the targets, then cleans the
// pool.
func (p *MuxPool) keepApart(addr poolAddr, t *muxTarget, c *conn.Conn) {
	p.apart.adopt(addr, netpollconn.Of(c), func() bool { return p.lookup(addr) == t })
}
