package muxserver

import (
	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/internal/cause"
)

// This file is calls whose clients no longer wait for the reply, and what is answered when there is
// no reply: each request of a marked client that wants one is answered exactly once, so that the
// client can use its sequence ID again.

// cancel marks the call of the request id, whose client no longer waits for the reply. A call that
// has not begun will not begin. A running call goes on, but its handler may be told. Either is
// answered when it is over. If the request is not in flight, its answer is on its way.
func (s *Conn) cancel(id uint32) {
	onCancel, cancelled := s.reading.slots.cancel(id)
	if !cancelled {
		return
	}
	s.server.counters.cancelled.Add(1)
	if onCancel == nil {
		return
	}
	if failure := callback.Apart(onCancel); failure != nil {
		s.report(cause.OfPanic(failure))
	}
}

// CanCancel reports whether the client can say that it no longer waits for the reply. It can if it
// knows package mux, the call is not a oneway, and no other call in flight on the connection has
// the same low half of its sequence ID, as clients of package mux ensure.
func (c *Call) CanCancel() bool { return c.slot != nil }

// OnCancel has f called, at most once, when the client says that it no longer waits for the reply;
// at once if it has already said so; and never if CanCancel is false. f must not block, since the
// connection's reader waits for it, and may still be called just after HandleCall has returned.
// Only HandleCall may call OnCancel, once. The end of the connection does not call f (Conn.OnGone).
func (c *Call) OnCancel(f func()) {
	if c.slot == nil {
		return
	}
	if now := c.slot.hook(f); now != nil {
		now()
	}
}

// isCancelled reports whether the client no longer waits for the reply.
func (c *Call) isCancelled() bool { return c.slot != nil && c.slot.isCancelled() }

// settle ends the use of the sequence ID. It reports whether the reply is wanted.
func (c *Call) settle() (wanted bool) { return c.slot == nil || !c.slot.free() }
