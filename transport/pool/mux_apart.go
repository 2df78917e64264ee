package pool

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

// This file is how a call of a Mux finds its connection. It takes a place on a shared
// connection, or else an idle connection that is not shared. Failing both it waits for whichever
// comes first: a place, a new connection, which the Set opens, or a connection that another call
// gives back. A call that waits is in two queues, the Set's and the pool's.

// attempt is a call that looks for a connection.
type attempt struct {
	ctx      context.Context // the call's
	timed    TimedCall       // nil if the call is not timed
	until    context.Context // the attempt may wait until this is done
	deadline time.Time       // and until then; zero: no deadline
}

// newAttempt returns the attempt at the call with context ctx. A TimedCall's limits take the place
// of ctx.
func newAttempt(ctx context.Context) attempt {
	timed := timedCallOf(ctx)
	if timed == nil {
		return attempt{ctx: ctx, until: ctx}
	}
	until, deadline := timed.Limits()
	return attempt{ctx: ctx, timed: timed, until: until, deadline: deadline}
}

// isOver reports whether the attempt may wait no longer.
func (a *attempt) isOver() bool {
	return a.until.Err() != nil || !a.deadline.IsZero() && !time.Now().Before(a.deadline)
}

// isOneway reports whether the call has no reply.
func (a *attempt) isOneway() bool {
	info := rpcinfo.GetRPCInfo(a.ctx)
	if info == nil || info.Invocation() == nil {
		return false
	}
	method := info.Invocation().MethodInfo()
	return method != nil && method.OneWay()
}

// place finds a connection to addr, which t is for. The error is t's or the pool's.
func (p *Mux) place(ctx context.Context, addr netAddr, t *muxTarget) (net.Conn, error) {
	a := newAttempt(ctx)
	if call, ok := t.BeginShared(a.until, a.deadline); ok {
		return p.takeCall(call, a.timed), nil
	}
	for {
		pr, err := p.apart.peer(addr)
		if err != nil {
			return nil, err
		}
		c, err := p.placeSlow(a, t, pr)
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
func (p *Mux) placeSlow(a attempt, t *muxTarget, pr *peer) (net.Conn, error) {
	if a.isOneway() && t.Opens() {
		c, err := p.await(a, pr, pr.queue(), t.BeginSoon)
		if !errors.Is(err, mux.ErrElsewhere) {
			return c, err
		}
	}
	return p.await(a, pr, pr.claim(), t.BeginUnless)
}

// await returns what was claimed of pr, or waits for pr and, with begin, for a place in the Set. It
// uses the connection that it is granted, whatever the Set says meanwhile, unless the time of a is
// over.
func (p *Mux) await(a attempt, pr *peer, got claim, begin beginFunc) (net.Conn, error) {
	if got.waiter == nil {
		return pr.use(got)
	}
	call, err := begin(a.until, a.deadline, got.waiter.granted)
	got = pr.leaveQueue(got.waiter)
	isOver := a.isOver()
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
	return p.takeCall(call, a.timed), nil
}

// beginFunc is a method of a Set that begins calls.
type beginFunc func(ctx context.Context, deadline time.Time, elsewhere <-chan struct{}) (*mux.Call, error)

// keepApart takes a connection of t that is not shared. t was addr's target. keepApart closes the
// connection if the address was cleaned since: Clean removes t from the targets, then cleans the
// pool.
func (p *Mux) keepApart(addr netAddr, t *muxTarget, c *conn.Conn) {
	p.apart.adopt(addr, netpollconn.Of(c), func() bool { return p.lookup(addr) == t })
}
