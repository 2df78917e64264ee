package transport

import (
	"sync/atomic"

	"github.com/cloudwego/kitex/pkg/rpcinfo"
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

// isNotSent reports whether the peer cannot have seen the call. If so, nothing is sent for it
// afterwards.
func (c *timedCall) isNotSent() bool {
	// A retry or backup request of Kitex's is a timedCall of its own. Those before it may have been sent.
	if _, again := c.info.To().Tag(rpcinfo.RetryTag); again {
		return false
	}
	return c.sent.ruleOut()
}
