package transport

import (
	"cmp"
	"context"
	"sync/atomic"
)

// sendings counts the attempts to send a call's request that the peer may have seen. An attempt
// counts from its beginning, and forever unless it turns out that nothing of it has left. A
// middleware may make several attempts, and the error of the last says nothing about the others.
type sendings struct{ count atomic.Int32 }

// nothingSent is the count of a call of which nothing was sent or will be.
const nothingSent = -1

// begin counts one more attempt. It returns false if the caller was told that nothing was sent;
// then the attempt must not be made.
func (s *sendings) begin() bool {
	for {
		n := s.count.Load()
		if n == nothingSent {
			return false
		}
		if s.count.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// undo takes back an attempt of which nothing has left or will leave.
func (s *sendings) undo() {
	if s.count.Add(-1) < 0 {
		panic("kiteline: BUG: more attempts undone than begun")
	}
}

// ruleOut reports whether nothing of the request has left. If so, no attempt can begin afterwards.
func (s *sendings) ruleOut() bool {
	return s.count.CompareAndSwap(0, nothingSent) || s.count.Load() == nothingSent
}

// areOthersUnsent reports whether nothing of Kitex's other attempts at the same call has left or
// will leave.
func (c *timedCall) areOthersUnsent() bool {
	n := attemptOf(c.info)
	if c.keeper == nil {
		return n == 0
	}
	return c.keeper.attempts.areOthersUnsent(sameCall(c.caller), n)
}

// noteFailedUnsent notes that nothing of the call was sent, if err, its error, says so and it is
// true of each attempt that a middleware has made.
func (c *timedCall) noteFailedUnsent(err error) {
	if err != nil && c.keeper != nil && isAttemptNotSent(err) && c.sent.ruleOut() {
		c.keeper.attempts.failUnsent(c.caller, c.info)
	}
}

// BeginSending implements pool.TimedCall.
func (c *timedCall) BeginSending() error {
	if c.sent.begin() {
		return nil
	}
	return cmp.Or(c.Err(), context.Canceled)
}

// UndoSending implements pool.TimedCall.
func (c *timedCall) UndoSending() { c.sent.undo() }

// MayHaveBeenSent implements pool.TimedCall.
func (c *timedCall) MayHaveBeenSent() bool { return c.sent.count.Load() > 0 || !c.areOthersUnsent() }
