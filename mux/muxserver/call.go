package muxserver

import (
	"context"
	"sync"
	"time"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// Call is one call that a Server handles. It belongs to the handler while HandleCall runs, and to
// one goroutine at a time.
type Call struct {
	// owned by the goroutine that handles the call
	ctx     context.Context
	conn    *Conn
	request *buffer.LinkBuffer
	reply   *buffer.LinkBuffer // nil until it is needed
	seqID   uint32

	// immutable while it is in use
	slot     *slot         // nil: it cannot be cancelled
	came     time.Duration // when it was put into the line, by the server's clock
	weight   int64         // what it counts for in the connection's load
	oneway   bool          // a marked client's request, flagged as having no reply
	answers  bool          // a marked client's that must be answered, if only by a refusal
	tooLarge *FrameError   // if not nil, why only OnTooLarge handles it

	next *Call // guarded by line.mu: the call behind it
}

// callPool holds empty calls.
var callPool = sync.Pool{New: func() any { return new(Call) }}

// newCall makes the call of f, which was admitted. Only the reading side calls it.
func newCall(ctx context.Context, s *Conn, f incoming, request *buffer.LinkBuffer) *Call {
	c := callPool.Get().(*Call)
	c.ctx, c.conn, c.seqID, c.request = ctx, s, f.SeqID, request
	c.weight, c.oneway, c.tooLarge = f.weight(), f.oneway, f.tooLarge
	if c.answers = f.marked && !f.oneway; c.answers {
		c.slot = s.reading.slots.take(f.SeqID)
	}
	return c
}

// SeqID returns the request's sequence ID, which the reply must have. The client chooses it: it may
// be any value, and the same for several calls.
func (c *Call) SeqID() uint32 { return c.seqID }

// Conn returns the connection on which the request came, for its addresses or to Close it. The
// handler must not read it or write to it.
func (c *Call) Conn() *conn.Conn { return c.conn.conn }

// Request returns the request, one whole frame. The buffer, and memory read from it, are valid
// until HandleCall returns.
func (c *Call) Request() *buffer.LinkBuffer { return c.request }

// Reply returns a buffer, empty at first, for the reply, one whole frame. The buffer is valid until
// HandleCall returns. Memory put into it by reference must not change until it has been sent. The
// handler is not told when that is, and so must leave such memory to the garbage collector.
func (c *Call) Reply() *buffer.LinkBuffer {
	if c.reply == nil {
		c.reply = frame.Take()
	}
	return c.reply
}

// handle handles the call, which begins at that time of the server's clock, and sends the reply.
// more says that the caller handles another call next, and flushes then. handle returns when the
// handler has ended. If the connection has died, or the client no longer waits, the handler is not
// called, since its reply would reach nobody. A call whose time is over, or whose turn comes when
// the server goes away, is refused. A oneway is handled all the same, since its caller was told
// that it was sent. If the handler ends the goroutine, handle does not return, but the call is over
// then too.
func (c *Call) handle(began time.Duration, more bool) (ended time.Duration) {
	s := c.conn
	switch {
	case s.isDead() && !c.oneway:
		s.endFoundDead() // its reader may not know what was found
		s.server.counters.skipped.Add(1)
		c.end(nil, more)
		return s.server.now()
	case c.isCancelled():
		c.end(nil, more)
		return s.server.now()
	case c.isOverdue(began):
		c.refuse(frame.ReasonOverdue, more)
		return s.server.now()
	case c.answers && s.server.stages.going.Load():
		c.refuse(frame.ReasonGoing, more)
		return s.server.now()
	case c.tooLarge != nil:
		replies := c.guard(func() bool { return s.server.config.OnTooLarge(c, c.tooLarge) })
		c.end(c.answer(replies), more)
		return s.server.now()
	}
	replies := false
	callback.Run(
		func() { replies = s.server.config.Handler.HandleCall(c.ctx, c) },
		func(failure *callback.Failure) {
			ended = s.server.now()
			s.trust.note(ended - began)
			if failure != nil {
				replies = c.failed(failure)
			}
			c.end(c.answer(replies), more)
		})
	return ended
}

// end gives back what the call has, and sends the reply if there is one and the client waits for
// it. A marked client that gets no reply is told so.
func (c *Call) end(reply *buffer.LinkBuffer, more bool) {
	c.endWith(reply, frame.ReasonCancelled, more)
}

// refuse ends a call that has not begun. A marked client that wants an answer is told why.
func (c *Call) refuse(reason frame.Reason, more bool) { c.endWith(nil, reason, more) }

// endWith is end, except that a marked client that gets no reply is told the reason.
func (c *Call) endWith(reply *buffer.LinkBuffer, reason frame.Reason, more bool) {
	s, over := c.conn, *c
	frame.Drop(c.request)
	*c = Call{}
	callPool.Put(c)
	s.makeRoom(over.weight, over.oneway)
	wanted := over.settle() && !over.oneway
	if reply != nil && wanted {
		s.send(reply, more)
	} else {
		if reply != nil {
			frame.Drop(reply)
		}
		if over.answers {
			s.tellRefused(s.companyOf(more), reason, over.seqID)
		}
	}
	s.leave()
}

// answer returns the reply for Conn.send if the handler reports that it has written one; nil if
// there is none.
func (c *Call) answer(replies bool) *buffer.LinkBuffer {
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

// failed has OnPanic answer for a handler that has not returned.
func (c *Call) failed(failure *callback.Failure) (replies bool) {
	c.conn.server.counters.panics.Add(1)
	c.dropReply()
	onPanic := c.conn.server.config.OnPanic
	return onPanic != nil && c.guard(func() bool { return onPanic(c, failure.Value, failure.Stack) })
}

// guard calls answer, which answers in the handler's place. If that fails too, there is no reply.
func (c *Call) guard(answer func() bool) (replies bool) {
	failure := callback.Apart(func() { replies = answer() })
	if failure == nil {
		return replies
	}
	c.conn.server.counters.panics.Add(1)
	c.dropReply()
	c.conn.report(cause.OfPanic(failure))
	return false
}

// checkReply checks what the handler has written: it must be one whole frame of the request's
// sequence ID and of a length that clients take. Anything else would break the stream for all other
// calls.
func (c *Call) checkReply() error {
	reply := c.Reply()
	_ = reply.Flush() // it has no Sink
	p, err := frame.Check(reply, c.conn.server.config.MaxFrameBytes)
	if err == nil && p.SeqID != c.seqID {
		return &FrameError{Reason: "reply to another request"}
	}
	return ofFrame(err)
}

// replaceReply has OnBadReply answer in place of a reply that cannot be sent; err says why.
func (c *Call) replaceReply(err error) (replies bool) {
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
func (c *Call) dropReply() {
	if c.reply != nil {
		frame.Drop(c.reply)
		c.reply = nil
	}
}

// companyOf returns how the answer to a call in flight is sent. more says that the caller sends
// another answer soon, or calls out.Flush.
func (s *Conn) companyOf(more bool) output.Company {
	if more {
		return output.Ahead
	}
	return s.companyBeside(1)
}

// send sends a reply that checkReply has checked. more is as for companyOf.
func (s *Conn) send(reply *buffer.LinkBuffer, more bool) {
	if _, err := s.out.Send(reply, s.companyOf(more)); err == nil {
		s.server.counters.replies.Add(1)
	} else {
		s.server.counters.lost.Add(1)
	}
}
