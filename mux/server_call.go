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

// Run implements conn.Runner: it handles the call and sends the reply. On a connection that
// has died it does neither: nobody would hear of it.
func (c *ServerCall) Run() { c.run(false) }

// run is Run. inLine says that the reader does it, who handles the rest of its line next.
func (c *ServerCall) run(inLine bool) {
	s := c.conn
	var reply *buffer.LinkBuffer
	if s.isDead() {
		s.server.counters.skipped.Add(1)
	} else {
		reply = c.answer()
	}
	dropBuffer(c.request)
	*c = ServerCall{}
	serverCallPool.Put(c)
	if reply != nil {
		s.send(reply, inLine && !s.line.isEmpty())
	}
	s.leave()
}

// answer has the call handled and returns the reply, which goes to ServerConn.send; nil if there is none.
func (c *ServerCall) answer() *buffer.LinkBuffer {
	replies := c.handle()
	if replies {
		if err := c.checkReply(); err != nil {
			replies = c.replaceReply(err)
		}
	}
	if !replies {
		c.dropReply()
		return nil
	}
	return c.reply
}

// handle calls the handler, and OnPanic if it panics.
func (c *ServerCall) handle() (replies bool) {
	config := &c.conn.server.config
	defer func() {
		if v := recover(); v != nil {
			stack := debug.Stack()
			c.conn.server.counters.panics.Add(1)
			c.dropReply()
			replies = config.OnPanic != nil && c.guard(func() bool { return config.OnPanic(c, v, stack) })
		}
	}()
	return config.Handler.HandleCall(c.ctx, c)
}

// guard calls what is to answer in the handler's place. If that panics too, nobody does.
func (c *ServerCall) guard(answer func() bool) (replies bool) {
	defer func() {
		if v := recover(); v != nil {
			c.conn.server.counters.panics.Add(1)
			c.dropReply()
			c.conn.report(&conn.PanicError{Value: v, Stack: debug.Stack()})
			replies = false
		}
	}()
	return answer()
}

// checkReply looks at what the handler has written: one whole frame of the request's sequence ID
// and of a length that clients take. Anything else would tear the stream for all other calls.
func (c *ServerCall) checkReply() error {
	reply := c.Reply()
	_ = reply.Flush() // it has no Sink
	most := c.conn.server.config.MaxFrameBytes
	if c.conn.helloDue.Load() {
		most -= signalBlockBytes // it may be the one that says so
	}
	p, err := checkFrame(reply, most)
	if err == nil && p.seqID != c.seqID {
		err = &FrameError{Reason: "reply to another request"}
	}
	return err
}

// replaceReply has OnBadReply answer instead of a reply that cannot be sent, err being why.
func (c *ServerCall) replaceReply(err error) (replies bool) {
	s := c.conn
	s.server.counters.badReplies.Add(1)
	c.dropReply()
	s.report(err)
	onBadReply := s.server.config.OnBadReply
	if onBadReply == nil || !c.guard(func() bool { return onBadReply(c, err) }) {
		return false
	}
	if err = c.checkReply(); err != nil {
		s.report(err)
	}
	return err == nil
}

// dropReply drops what was written.
func (c *ServerCall) dropReply() {
	if c.reply != nil {
		dropBuffer(c.reply)
		c.reply = nil
	}
}

// send sends a reply that checkReply has seen; more says that the caller sends another soon, or
// calls out.flush.
func (s *ServerConn) send(reply *buffer.LinkBuffer, more bool) {
	if s.helloDue.Load() && s.helloDue.CompareAndSwap(true, false) {
		_ = insertSignal(reply, signalHello) // no room for it: the client takes this side for a stock one
	}
	company := alone
	switch {
	case more:
		company = ahead
	case s.inFlight.Load() > 1:
		company = inCompany
	}
	if _, err := s.out.send(reply, company); err == nil {
		s.server.counters.replies.Add(1)
	} else {
		s.server.counters.lost.Add(1)
	}
}
