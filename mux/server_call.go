package mux

import (
	"context"
	"runtime/debug"
	"sync"

	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// ServerCall is one call that a Server handles. It belongs to the handler from
// HandleCall's beginning to its end, and to one goroutine at a time.
type ServerCall struct {
	// owned by whoever handles the call
	ctx     context.Context
	conn    *ServerConn
	request *buffer.LinkBuffer
	reply   *buffer.LinkBuffer // nil until somebody wants it
	seqID   uint32
}

var _ conn.Runner = (*ServerCall)(nil)

// serverCallPool holds calls without anything in them.
var serverCallPool = sync.Pool{New: func() any { return new(ServerCall) }}

func newServerCall(ctx context.Context, s *ServerConn, seqID uint32, request *buffer.LinkBuffer) *ServerCall {
	c := serverCallPool.Get().(*ServerCall)
	c.ctx, c.conn, c.seqID, c.request = ctx, s, seqID, request
	return c
}

// SeqID returns the request's sequence ID, which the reply must have. It is the
// client's choice: any value, and the same for several calls.
func (c *ServerCall) SeqID() uint32 { return c.seqID }

// Conn returns the connection that the request came on.
func (c *ServerCall) Conn() *conn.Conn { return c.conn.conn }

// Request returns the request, one whole frame. It and what it returns are valid until
// HandleCall returns.
func (c *ServerCall) Request() *buffer.LinkBuffer { return c.request }

// Reply returns a buffer, empty at first, for the reply, one whole frame. It is valid
// until HandleCall returns. Memory that is put into it by reference must not change
// until it has been sent, which nobody is told of: it has to be left to the garbage
// collector.
func (c *ServerCall) Reply() *buffer.LinkBuffer {
	if c.reply == nil {
		c.reply = takeBuffer()
	}
	return c.reply
}

// Run implements conn.Runner: it handles the call and sends the reply.
func (c *ServerCall) Run() {
	replies := c.handle()
	s, seqID, reply := c.conn, c.seqID, c.reply
	dropBuffer(c.request)
	*c = ServerCall{}
	serverCallPool.Put(c)
	switch {
	case replies && reply != nil:
		s.send(reply, seqID)
	case reply != nil:
		dropBuffer(reply)
	}
	s.leave()
}

// handle calls the handler, and OnPanic if it panics.
func (c *ServerCall) handle() (replies bool) {
	config := &c.conn.server.config
	defer func() {
		if v := recover(); v != nil {
			c.conn.server.counters.panics.Add(1)
			c.dropReply()
			replies = config.OnPanic != nil && config.OnPanic(c, v, debug.Stack())
		}
	}()
	return config.Handler.HandleCall(c.ctx, c)
}

// dropReply drops what was written before a panic.
func (c *ServerCall) dropReply() {
	if c.reply != nil {
		dropBuffer(c.reply)
		c.reply = nil
	}
}

// send sends a reply, unless it is no whole frame, which would tear the stream for all
// other calls.
func (s *ServerConn) send(reply *buffer.LinkBuffer, seqID uint32) {
	_ = reply.Flush() // it has no Sink
	p, err := checkFrame(reply, buffer.MaxBytes)
	if err == nil && p.seqID != seqID {
		err = &FrameError{Reason: "reply to another request"}
	}
	if err == nil && s.helloDue.Load() && s.helloDue.CompareAndSwap(true, false) {
		_ = insertSignal(reply, signalHello) // no room for it: the client takes this side for a stock one
	}
	if err != nil {
		s.server.counters.badReplies.Add(1)
		dropBuffer(reply)
		s.report(err)
		return
	}
	company := alone
	if s.inFlight.Load() > 1 {
		company = inCompany
	}
	if _, err := s.out.send(reply, company); err == nil {
		s.server.counters.replies.Add(1)
	} else {
		s.server.counters.lost.Add(1)
	}
}
