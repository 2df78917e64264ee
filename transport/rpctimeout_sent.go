package transport

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/mux"
)

// sendings counts the attempts to send a call's request that the peer may have seen. An attempt
// counts from its beginning, and forever unless it turns out that nothing of it has left: a
// middleware may make several, and the error of the last one says nothing of the others.
type sendings struct{ count atomic.Int32 }

// nothingSent is the count of a call of which nothing was sent, and nothing will be.
const nothingSent = -1

// begin counts one more attempt. It reports false, and the attempt must not be made, if the
// caller was told that nothing was sent.
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

// undo takes back an attempt of which nothing has left and nothing will.
func (s *sendings) undo() {
	if s.count.Add(-1) < 0 {
		panic("kiteline: BUG: more attempts undone than begun")
	}
}

// ruleOut reports whether nothing of the request has left. If so, no attempt can begin afterwards.
func (s *sendings) ruleOut() bool {
	return s.count.CompareAndSwap(0, nothingSent) || s.count.Load() == nothingSent
}

// areOthersUnsent reports whether nothing of other attempts of Kitex's at the same call has left,
// nor will.
func (c *timedCall) areOthersUnsent() bool {
	n := attemptOf(c.info)
	if c.keeper == nil {
		return n == 0
	}
	return c.keeper.attempts.areOthersUnsent(sameCall(c.caller), n)
}

// noteFailedUnsent takes from err, which the call has failed with, that nothing of it was sent, if
// that is so of each attempt that a middleware has made.
func (c *timedCall) noteFailedUnsent(err error) {
	if err != nil && c.keeper != nil && isAttemptNotSent(err) && c.sent.ruleOut() {
		c.keeper.attempts.failUnsent(c.caller, c.info)
	}
}

// noteSentBefore has err, with which an attempt of info's call has failed, say that others may have
// been sent. It says so of the attempt alone, if that is a *mux.Error. Of a call without a
// timedCall no attempts are counted: a backup request may be under way beside this one, or another
// that a middleware has made.
func noteSentBefore(ctx context.Context, info rpcinfo.RPCInfo, err error) {
	var failed *mux.Error
	if info == nil || !errors.As(err, &failed) {
		return
	}
	c := timedCallOf(ctx, info)
	failed.SentBefore = c == nil || c.sent.count.Load() > 0 || !c.areOthersUnsent()
}
