package transport

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/streaming"

	"github.com/kiteline/kiteline/transport/internal/loglimit"
	"github.com/kiteline/kiteline/transport/pool"
)

// Kitex's middleware for timeouts (client/rpctimeout.go) makes a call on a goroutine of its own
// pool if the call has a timeout or its context can end, so that the caller can return when time is
// up. The transport can end the call itself, so the suite hides from that middleware both the
// timeout and the context's end.
//
// This takes two middlewares around Kitex's. The outer one begins a timedCall and hides that it can
// end. The inner one shows it again to all that follows. The outer one takes the place of the xDS
// router, the only place that Kitex has there; a user's router goes outside it. The client's
// ExtraTimeout hides the timeout: Kitex's middleware adds it to the timeout, and nothing else reads
// it. The configuration stays as it is.
//
// All this depends on Kitex's internals, and options that a user gives late can undo it. So a
// timeoutKeeper tries it out while Kitex makes the client, with Kitex's own middleware between the
// two. If it does not work, choose says what keeps the timeouts instead.

// noTimeout, added to a positive timeout, makes it negative.
const noTimeout = time.Duration(math.MinInt64)

// timeoutKeeper keeps the timeouts of one client's calls.
type timeoutKeeper struct {
	service      string        // immutable: the peer's name
	writeTimeout time.Duration // immutable: what the dialer gives a connection
	open         chan struct{} // immutable, never closed: Done for service discovery, see onlyLooks

	// written while Kitex makes the client, before its first call
	extra     time.Duration // what the user has added to every timeout
	surrounds bool          // the inner middleware is in the chain that Kitex is making
	way       timeoutWay

	discovery atomic.Uintptr // the caller in Kitex that onlyLooks has found; zero: none
	warned    sync.Once      // for warn
	attempts  attempts
	overruns  loglimit.Limiter
}

// timeoutBuilder returns the MiddlewareBuilder that gives the timeouts of o's client to the
// transport, if the transport can keep them. The builder itself adds no middleware. Kitex runs
// builders when all options are there, and before it reads what this one sets.
func timeoutBuilder(o *client.Options) endpoint.MiddlewareBuilder {
	return func(context.Context) endpoint.Middleware {
		if transportKeepsTimeouts(o) {
			installTimeouts(o)
		}
		return nil
	}
}

// transportKeepsTimeouts reports whether a timedCall ends every wait of a call of o's client. It
// returns false if another suite has already installed a keeper.
func transportKeepsTimeouts(o *client.Options) bool {
	handlers, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	pooled := false
	switch o.RemoteOpt.ConnPool.(type) {
	case *pool.Pool, *pool.Mux:
		pooled = true
	}
	_, dials := o.RemoteOpt.Dialer.(*dialer)
	return ours && handlers.keepsTimeouts && handlers.keeper == nil && pooled && dials && o.Proxy == nil
}

func installTimeouts(o *client.Options) {
	handlers, _ := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	k := &timeoutKeeper{service: o.Svr.ServiceName, writeTimeout: handlers.writeTimeout, open: make(chan struct{})}
	handlers.keeper = k
	o.RemoteOpt.CliHandlerFactory = handlers
	outer := endpoint.Middleware(k.begin)
	if router := o.XDSRouterMiddleware; o.XDSEnabled && router != nil {
		outer = endpoint.Chain(router, outer)
	}
	o.XDSEnabled, o.XDSRouterMiddleware = true, outer
	o.UnaryOptions.UnaryMiddlewares = slices.Insert(o.UnaryOptions.UnaryMiddlewares, 0, k.unseal)
	o.IMWBs = slices.Insert(o.IMWBs, 0, func(context.Context) endpoint.Middleware { return sparePeers })
	// Kitex's middleware for timeouts comes next after the last of these, so ExtraTimeout is final
	// by then.
	o.IMWBs = append(o.IMWBs, func(context.Context) endpoint.Middleware {
		k.extra, o.ExtraTimeout = o.ExtraTimeout, noTimeout
		return k.connect
	})
}

// begin is the outer middleware.
func (k *timeoutKeeper) begin(next endpoint.Endpoint) endpoint.Endpoint {
	if k.surrounds && k.way == wayUntried {
		k.choose(next)
	}
	return func(ctx context.Context, request, response any) error {
		if k.way.unsealed() || !k.limits(ctx, response) {
			return next(ctx, request, response)
		}
		return k.call(ctx, next, request, response)
	}
}

// limits reports whether a call has a limit. Kitex has no limit for streams.
func (k *timeoutKeeper) limits(ctx context.Context, response any) bool {
	if _, stream := response.(*streaming.Result); stream {
		return false
	}
	return ctx.Done() != nil || k.timeout(rpcinfo.GetRPCInfo(ctx)) > 0
}

// timeout returns the timeout of info's call.
func (k *timeoutKeeper) timeout(info rpcinfo.RPCInfo) time.Duration {
	timeout := info.Config().RPCTimeout()
	if timeout > 0 {
		timeout += k.extra
	}
	return timeout
}

// call makes a call that has a limit.
func (k *timeoutKeeper) call(ctx context.Context, next endpoint.Endpoint, request, response any) error {
	info := rpcinfo.GetRPCInfo(ctx)
	c := k.newCall(ctx, info)
	if why := c.over(); why != nil {
		return c.timeoutError(why, nil)
	}
	return c.run(sealedCall{c}, next, request, response)
}

// newCall returns a timedCall that begins now.
func (k *timeoutKeeper) newCall(ctx context.Context, info rpcinfo.RPCInfo) *timedCall {
	c := beginCall(ctx, info, k.timeout(info), k.writeTimeout)
	c.keeper = k
	k.attempts.begin(ctx, info)
	return c
}

// run makes the call with context ctx and returns the error for its caller, which is nil only if
// the call came back in time. A panic becomes an error, as on Kitex's goroutine.
func (c *timedCall) run(ctx context.Context, next endpoint.Endpoint, request, response any) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = rpcinfo.ClientPanicToErr(c.caller, v, c.info, true)
		}
		err = c.result(err)
		c.noteFailedUnsent(err)
		c.end()
	}()
	return next(ctx, request, response)
}

// result returns the error that the caller gets when the call has returned err.
func (c *timedCall) result(err error) error {
	if why := c.Err(); why != nil {
		c.noteOverrun(time.Now())
		return c.timeoutError(why, err)
	}
	if err == context.Canceled { //nolint:errorlint // as Kitex compares it: one that is wrapped is somebody's own
		return c.timeoutError(err, nil)
	}
	return err
}

// unseal is the inner middleware.
func (k *timeoutKeeper) unseal(next endpoint.UnaryEndpoint) endpoint.UnaryEndpoint {
	k.surrounds = true
	return func(ctx context.Context, request, response any) error {
		if p, ok := request.(*timeoutProbe); ok {
			p.ctx = ctx
			return nil
		}
		if s, ok := ctx.(sealedCall); ok {
			ctx = s.timedCall
		}
		return next(ctx, request, response)
	}
}

// sparePeers handles a call that ended while it waited for a connection: Kitex then neither counts
// it against the instance nor tries another. A dial that took all of the call's time is the
// instance's failure.
func sparePeers(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, request, response any) error {
		err := next(ctx, request, response)
		if err == nil || !errors.Is(err, kerrors.ErrGetConnection) {
			return err
		}
		c := timedCallOf(ctx, rpcinfo.GetRPCInfo(ctx))
		if c == nil || c.Err() == nil {
			return err
		}
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" && errors.Is(c.Err(), context.DeadlineExceeded) {
			return err
		}
		return kerrors.ErrRPCTimeout.WithCause(c.callError(c.Err().Error(), c.Err(), err))
	}
}

// connect is the middleware next to the transport. A call that has a limit and arrives without a
// timedCall gets one here: its waits must end even if Kitex, or an option given late, leaves the
// outer middleware out.
func (k *timeoutKeeper) connect(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, request, response any) error {
		info := rpcinfo.GetRPCInfo(ctx)
		if c := timedCallOf(ctx, info); c != nil {
			return c.connect(ctx, next, request, response)
		}
		if k.way == wayKitexs || !k.limits(ctx, response) {
			return next(ctx, request, response)
		}
		k.warn("its middleware for timeouts is not where it was put; calls end only where they wait for connections")
		c := k.newCall(ctx, info)
		c.sent.begin() // a middleware before this one may have tried already
		if why := c.over(); why != nil {
			return c.timeoutError(why, nil)
		}
		return c.run(c, func(ctx context.Context, request, response any) error {
			return c.connect(ctx, next, request, response)
		}, request, response)
	}
}

// connect has the transport make the call.
func (c *timedCall) connect(ctx context.Context, next endpoint.Endpoint, request, response any) error {
	c.enter(PhaseConnect)
	err := next(ctx, request, response)
	if err != nil {
		c.noteFailed(err)
	}
	return err
}

// noteFailed notes that the transport has failed the call with err.
func (c *timedCall) noteFailed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = time.Now()
	if c.lookLocked() && isEcho(err) {
		c.echo = withoutKitexs(err)
	}
}

// overrunGrace, plus a tenth of the call's time, is how much later than its deadline a call may
// come back without a log line.
const overrunGrace = 5 * time.Millisecond

// overrun returns how much later than its deadline the call comes back at now, without the delay
// that is the transport's.
func (c *timedCall) overrun(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed.After(c.deadline) {
		return now.Sub(c.failed)
	}
	return now.Sub(c.deadline)
}

// noteOverrun logs that the user's code has held up the caller of a call that has ended.
func (c *timedCall) noteOverrun(now time.Time) {
	if c.keeper == nil || c.deadline.IsZero() {
		return
	}
	over := c.overrun(now)
	if over <= overrunGrace+c.deadline.Sub(c.start)/10 {
		return
	}
	phase, method := CallPhase(c.phase.Load()), c.info.To().Method()
	service := c.keeper.service
	c.keeper.overruns.Log(func(more int) {
		klog.Warnf("KITELINE: a call came back %v after its deadline, service=%s, method=%s, phase=%v (%d more not logged): "+
			"a middleware or resolver of the client does not end with its context; see transport.WithKitexTimeouts",
			over, service, method, phase, more)
	})
}
