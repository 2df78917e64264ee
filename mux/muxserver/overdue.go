package muxserver

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// This file is calls whose callers gave up while the calls waited for their turn. As a rule a
// client cancels such a call, and so it does not begin. This file is for the other cases: the
// client has died or is out of reach, or its cancel waits behind a long request.

// overdueLook is how long a call must have waited before the server reads its caller's timeout from
// the header. As a rule calls wait for some microseconds.
const overdueLook = 5 * time.Millisecond

// isOverdue reports whether the caller has stopped waiting for the reply, judged by the timeout in
// the request. The caller's time began before the request was sent, and the server counts from when
// it read the request. So the caller has certainly given up, however long the request was on its
// way and whatever its clock says. Only a marked client's call that is answered is ever overdue.
func (c *Call) isOverdue(now time.Duration) bool {
	waited := now - c.came
	if waited < overdueLook || !c.answers || c.tooLarge != nil {
		return false
	}
	timeout := frame.Timeout(c.request)
	return timeout > 0 && waited >= timeout
}

// stamp notes when calls were put into the line.
func (q *calls) stamp(now time.Duration) {
	for call := q.first; call != nil; call = call.next {
		call.came = now
	}
}
