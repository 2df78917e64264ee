package transport

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/streaming"
)

// Kitex's middleware for timeouts (client/rpctimeout.go) makes a call in a
// goroutine of its own pool if the call has a timeout or its context can end,
// so that the caller can go when time is up. The transport can end the call
// itself, so the suite has that middleware find no reason to.
//
// It takes two middlewares around it. The outer one begins a timedCall and
// hides from Kitex's that it can end; the inner one shows it again to all that
// follows. The place outside is that of the xDS router, the only one Kitex has
// there: a user's router goes on outside ours. That the timeout is not seen
// either is the doing of the client's ExtraTimeout, which Kitex's middleware adds
// to it, and nothing else reads: the configuration stays as it is.

// noTimeout makes every positive timeout negative that it is added to.
const noTimeout = time.Duration(math.MinInt64)

// timeoutBuilder returns the MiddlewareBuilder that gives the time-outs of o's
// client to the transport, if that can keep them. It adds no middleware by
// itself. Kitex runs builders when all options are there and before it looks at
// what this one sets.
func timeoutBuilder(o *client.Options) endpoint.MiddlewareBuilder {
	return func(context.Context) endpoint.Middleware {
		if transportKeepsTimeouts(o) {
			installTimeouts(o)
		}
		return nil
	}
}

// transportKeepsTimeouts reports whether every wait of a call of o's client is
// one that a timedCall ends. ExtraTimeout says that another suite was there first.
func transportKeepsTimeouts(o *client.Options) bool {
	handlers, ours := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	pooled := false
	switch o.RemoteOpt.ConnPool.(type) {
	case *Pool, *MuxPool:
		pooled = true
	}
	_, dials := o.RemoteOpt.Dialer.(*dialer)
	return ours && handlers.keepsTimeouts && pooled && dials &&
		o.Proxy == nil && o.ExtraTimeout != noTimeout
}

func installTimeouts(o *client.Options) {
	handlers, _ := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
	outer := timeouts{extra: o.ExtraTimeout, writeTimeout: handlers.writeTimeout}.middleware
	if router := o.XDSRouterMiddleware; o.XDSEnabled && router != nil {
		outer = endpoint.Chain(router, outer)
	}
	o.XDSEnabled, o.XDSRouterMiddleware = true, outer
	o.UnaryOptions.UnaryMiddlewares = slices.Insert(o.UnaryOptions.UnaryMiddlewares, 0, unsealCall)
	o.IMWBs = slices.Insert(o.IMWBs, 0, func(context.Context) endpoint.Middleware { return sparePeers })
	o.ExtraTimeout = noTimeout
}

// timeouts is the outer middleware.
type timeouts struct {
	extra        time.Duration // what the user has added to every timeout
	writeTimeout time.Duration
}

func (t timeouts) middleware(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, request, response any) error {
		if _, stream := response.(*streaming.Result); stream {
			return next(ctx, request, response) // Kitex has no timeout for those
		}
		info := rpcinfo.GetRPCInfo(ctx)
		timeout := info.Config().RPCTimeout()
		if timeout > 0 {
			timeout += t.extra
		}
		if timeout <= 0 && ctx.Done() == nil {
			return next(ctx, request, response)
		}
		c := beginCall(ctx, info, timeout, t.writeTimeout)
		if why := c.over(); why != nil {
			return c.timeoutError(why)
		}
		return c.run(next, request, response)
	}
}

// run makes the call and returns what its caller gets: the result if it came in
// time. A panic is an error, as it is in Kitex's goroutine.
func (c *timedCall) run(next endpoint.Endpoint, request, response any) (err error) {
	c.watch()
	defer func() {
		if v := recover(); v != nil {
			err = rpcinfo.ClientPanicToErr(c.caller, v, c.info, true)
		}
		err = c.result(err)
		c.end()
	}()
	return next(sealedCall{c}, request, response)
}

// result returns what a caller gets for err, which the call has returned with.
func (c *timedCall) result(err error) error {
	if why := c.Err(); why != nil {
		return c.timeoutError(why)
	}
	if err == context.Canceled { //nolint:errorlint // as Kitex compares it: one that is wrapped is somebody's own
		return c.timeoutError(err)
	}
	return err
}

// unsealCall is the inner middleware.
func unsealCall(next endpoint.UnaryEndpoint) endpoint.UnaryEndpoint {
	return func(ctx context.Context, request, response any) error {
		if s, ok := ctx.(sealedCall); ok {
			ctx = s.timedCall
		}
		return next(ctx, request, response)
	}
}

// sparePeers keeps a call that has ended while it waited for a connection from
// being counted against the instance, and from being tried with another. A dial
// that took all the time there was is the instance's failure.
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
		return kerrors.ErrRPCTimeout.WithCause(c.Err())
	}
}
