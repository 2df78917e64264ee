package transport

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
)

// connContext is the context of a server's connection. Kitex's handler makes it with an rpcinfo of
// 1.5 KiB for the call that the connection carries. On a multiplexed connection each call has its
// own rpcinfo, and every idle connection would keep this one for nothing. So the context has it
// only until the first requests have been read, and again when the connection has ended, since
// users' handlers may look at it then. Contexts derived from this one refer to it, so it changes in
// place.
type connContext struct {
	// immutable
	handler *serverHandler
	given   context.Context // the argument of OnActive

	now         atomic.Pointer[context.Context] // the context in force; never nil
	multiplexed bool                            // owned by the goroutine that handles requests
}

// connContextKey finds a connContext in a context derived from it.
type connContextKey struct{}

var _ context.Context = (*connContext)(nil)

// OnActive implements remote.ServerTransHandler.
func (h *serverHandler) OnActive(ctx context.Context, nc net.Conn) (context.Context, error) {
	active, err := h.ServerTransHandler.OnActive(ctx, nc)
	if err != nil {
		return active, err
	}
	c := &connContext{handler: h, given: ctx}
	c.now.Store(&active)
	return c, nil
}

// connContextOf returns the connContext that ctx derives from; nil if there is none.
func connContextOf(ctx context.Context) *connContext {
	c, ok := ctx.(*connContext)
	if !ok {
		c, _ = ctx.Value(connContextKey{}).(*connContext)
	}
	return c
}

// noteRead is called when all handlers have returned from reading a connection's requests, except
// those that the multiplexing server reads. On a multiplexed connection it removes the rpcinfo if
// Kitex makes one for each call instead. What else Kitex's handler adds to the context stays.
func noteRead(ctx context.Context) {
	c := connContextOf(ctx)
	if c == nil || !c.multiplexed || !rpcinfo.PoolEnabled() {
		return
	}
	bare := c.given
	if searcher := remote.GetServiceSearcher(c); searcher != nil {
		bare = remote.WithServiceSearcher(bare, searcher)
	}
	c.now.Store(&bare)
}

// noteInactive is called before handlers are told that nc has ended. It sees to it that they find
// an rpcinfo in ctx, nc's context.
func noteInactive(ctx context.Context, nc net.Conn) {
	c := connContextOf(ctx)
	if c == nil || rpcinfo.GetRPCInfo(c) != nil {
		return
	}
	info := c.handler.opt.InitOrResetRPCInfoFunc(nil, nc.RemoteAddr())
	whole := rpcinfo.NewCtxWithRPCInfo(*c.now.Load(), info)
	c.now.Store(&whole)
}

// Deadline implements context.Context.
func (c *connContext) Deadline() (time.Time, bool) { return (*c.now.Load()).Deadline() }

// Done implements context.Context.
func (c *connContext) Done() <-chan struct{} { return (*c.now.Load()).Done() }

// Err implements context.Context.
func (c *connContext) Err() error { return (*c.now.Load()).Err() }

// Value implements context.Context.
func (c *connContext) Value(key any) any {
	if _, own := key.(connContextKey); own {
		return c
	}
	return (*c.now.Load()).Value(key)
}
