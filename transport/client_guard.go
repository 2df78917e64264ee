package transport

import (
	"context"
	"net"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/transport/pool"
)

// Kitex gives a call's connection back when the call returns (remotecli/client.go). The user's code
// that runs in between may panic, which Kitex turns into the call's error, or end its goroutine.
// Then Kitex gives back neither the connection nor the call's place on a shared one, and a
// callGuard does. It surrounds all such code: bound handlers, meta handlers among them, and the
// codec.

// callGuard ends what calls of a client that did not return leave behind.
type callGuard struct {
	opt *remote.ClientOption // immutable once Kitex has set the client up
}

// guardBounds puts g around the bound handlers of its client. Kitex makes a pipeline of them when
// it has the handler, and one more for streams.
func (g callGuard) guardBounds() {
	for i, h := range g.opt.Outbounds {
		if _, done := h.(guardedOutbound); !done {
			g.opt.Outbounds[i] = guardedOutbound{OutboundHandler: h, guard: g}
		}
	}
	for i, h := range g.opt.Inbounds {
		if _, done := h.(guardedInbound); !done {
			g.opt.Inbounds[i] = guardedInbound{InboundHandler: h, guard: g}
		}
	}
}

// watch calls f and releases c if f does not return.
func (g callGuard) watch(c net.Conn, f func() (context.Context, error)) (ctx context.Context, err error) {
	returned := false
	defer func() {
		if !returned {
			g.release(c)
		}
	}()
	ctx, err = f()
	returned = true
	return ctx, err
}

// release ends the call that uses c, and c itself unless other calls share it.
func (g callGuard) release(c net.Conn) {
	switch c := c.(type) {
	case nil: // the call has no connection yet, or is not ours
	case *pool.Call:
		c.End()
	default:
		if !g.abandon(c) {
			_ = c.Close()
		}
	}
}

// abandon has the client's pool give up c. It reports whether the pool is ours and c is from it.
func (g callGuard) abandon(c net.Conn) bool {
	switch p := g.opt.ConnPool.(type) {
	case *pool.Pool:
		return p.Abandon(c)
	case *pool.Mux:
		return p.Abandon(c)
	}
	return false
}

// guardedOutbound is an outbound handler. Its Write has the connection as an argument. A call
// without a connection fails before the handler, which would have nothing to write to.
type guardedOutbound struct {
	remote.OutboundHandler
	guard callGuard
}

// Write implements remote.OutboundHandler.
func (h guardedOutbound) Write(ctx context.Context, c net.Conn, msg remote.Message) (context.Context, error) {
	if refused, ok := c.(*pool.RefusedCall); ok {
		return writeRefused(ctx, refused, msg)
	}
	return h.guard.watch(c, func() (context.Context, error) { return h.OutboundHandler.Write(ctx, c, msg) })
}

// guardedInbound is an inbound handler. Its OnMessage finds the connection in the message's tags.
type guardedInbound struct {
	remote.InboundHandler
	guard callGuard
}

// replyConnKey is the message tag for a reply's connection.
const replyConnKey = "kiteline-conn"

// OnMessage implements remote.InboundHandler.
func (h guardedInbound) OnMessage(ctx context.Context, args, result remote.Message) (context.Context, error) {
	var c net.Conn
	if result != nil {
		c, _ = result.Tags()[replyConnKey].(net.Conn)
	}
	return h.guard.watch(c, func() (context.Context, error) { return h.InboundHandler.OnMessage(ctx, args, result) })
}

// clientHandler is Kitex's default handler, for calls that each have a connection of their own.
type clientHandler struct {
	remote.ClientTransHandler
	guard callGuard
}

func newClientHandler(opt *remote.ClientOption, kitex remote.ClientTransHandler) *clientHandler {
	h := &clientHandler{ClientTransHandler: kitex, guard: callGuard{opt}}
	h.guard.guardBounds()
	return h
}

// Write implements remote.TransHandler.
func (h *clientHandler) Write(ctx context.Context, c net.Conn, msg remote.Message) (context.Context, error) {
	return h.guard.watch(c, func() (context.Context, error) { return h.ClientTransHandler.Write(ctx, c, msg) })
}

// Read implements remote.TransHandler.
func (h *clientHandler) Read(ctx context.Context, c net.Conn, msg remote.Message) (context.Context, error) {
	msg.Tags()[replyConnKey] = c
	return h.guard.watch(c, func() (context.Context, error) { return h.ClientTransHandler.Read(ctx, c, msg) })
}
