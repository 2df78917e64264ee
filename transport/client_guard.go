package transport

import (
	"context"
	"net"

	"github.com/cloudwego/kitex/pkg/remote"
)

// Kitex gives a call's connection back where the call returns (remotecli/client.go). Code of the
// user's that runs in between may panic, which Kitex makes the call's error, or end its goroutine:
// then nobody gives the connection back, or the call's place on a shared one. A callGuard does. It
// is around all such code: bound handlers, meta handlers among them, and the codec.

// callGuard ends what a client's calls leave behind that did not return.
type callGuard struct {
	opt *remote.ClientOption // immutable once Kitex has set the client up
}

// guardBounds has g look after the bound handlers of its client. Kitex makes a pipeline of them
// when the handler is there, and one more for streams.
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

// watch calls f and gives c back if f does not return.
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

// release ends the call that has c, and c itself unless other calls share it.
func (g callGuard) release(c net.Conn) {
	switch c := c.(type) {
	case nil: // the call did not get so far, or is none of ours
	case *clientCall:
		c.End()
	default:
		var p *Pool
		switch pool := g.opt.ConnPool.(type) {
		case *Pool:
			p = pool
		case *MuxPool:
			p = pool.apart
		}
		if p == nil || !p.abandon(c) {
			_ = c.Close()
		}
	}
}

// guardedOutbound is an outbound handler, whose Write has the connection as an argument. A call
// without a connection fails before it: the handler has nothing to write to.
type guardedOutbound struct {
	remote.OutboundHandler
	guard callGuard
}

// Write implements remote.OutboundHandler.
func (h guardedOutbound) Write(ctx context.Context, c net.Conn, msg remote.Message) (context.Context, error) {
	if refused, ok := c.(*refusedCall); ok {
		return refused.write(ctx, msg)
	}
	return h.guard.watch(c, func() (context.Context, error) { return h.OutboundHandler.Write(ctx, c, msg) })
}

// guardedInbound is an inbound handler, whose OnMessage finds the connection at the message.
type guardedInbound struct {
	remote.InboundHandler
	guard callGuard
}

// replyConnKey is the tag of a reply's connection.
const replyConnKey = "kiteline-conn"

// OnMessage implements remote.InboundHandler.
func (h guardedInbound) OnMessage(ctx context.Context, args, result remote.Message) (context.Context, error) {
	var c net.Conn
	if result != nil {
		c, _ = result.Tags()[replyConnKey].(net.Conn)
	}
	return h.guard.watch(c, func() (context.Context, error) { return h.InboundHandler.OnMessage(ctx, args, result) })
}

// clientHandler is Kitex's default handler, for calls that have a connection each.
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
