package transport

import (
	"context"
	"net"

	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// servedCall is a multiplexed call in the form of the connection that Kitex's handlers expect. They
// read the request from it and write the reply to it. Its Close ends the connection that all calls
// share.
type servedCall struct {
	net.Conn // the shared one

	// owned by the goroutine that handles the call
	call *muxserver.Call

	// kept for the next call that uses this servedCall, often one of the same connection
	base context.Context // the connection's
	ctx  context.Context // base, with info
	info rpcinfo.RPCInfo // nil where Kitex makes one for each call
}

// IsActive implements remote.IsActive.
func (c *servedCall) IsActive() bool { return c.call.Conn().IsActive() }

// isForeign reports whether ctx is not this call's: Kitex's detection passes the connection's
// context on.
func (c *servedCall) isForeign(ctx context.Context) bool {
	if c.info != nil {
		return rpcinfo.GetRPCInfo(ctx) != c.info
	}
	return ctx.Done() == nil && c.ctx.Done() != nil
}

// takeCall returns call as a connection with a context of its own: calls of one connection run at
// the same time, so they cannot share the connection's rpcinfo.
func (h *serverHandler) takeCall(ctx context.Context, call *muxserver.Call) *servedCall {
	c, ok := h.calls.Get().(*servedCall)
	if !ok {
		c = new(servedCall)
	}
	c.call = call
	if c.base == ctx {
		return c
	}
	c.Conn = netpollconn.Of(call.Conn())
	c.base, c.ctx = ctx, ctx
	if rpcinfo.PoolEnabled() {
		c.info = h.opt.InitOrResetRPCInfoFunc(c.info, c.RemoteAddr())
		c.ctx = rpcinfo.NewCtxWithRPCInfo(ctx, c.info)
	}
	return c
}

// dropCall gives c back. Kitex's handler has reset the rpcinfo.
func (h *serverHandler) dropCall(c *servedCall) {
	c.call = nil
	h.calls.Put(c)
}
