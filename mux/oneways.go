package mux

import "sync/atomic"

// mostOnTheWay is how many bytes can be on their way to the peer's reader after this side's output:
// as many as both kernels hold unless configured otherwise (tcp(7): tcp_wmem 4 MiB, tcp_rmem 6
// MiB).
const mostOnTheWay = 10 << 20

// oneways are a connection's requests without a reply. Read is never more than sent.
type oneways struct {
	sent atomic.Int64 // bytes sent so far

	// guarded by the connection's mu
	read int64  // of them, bytes that the peer is known to have read
	last uint32 // the last oneway's sequence ID, if it may be answered; else 0
}

// noteRead records which oneways the peer has read: those sent before c, if it has answered or
// refused c, since it reads requests in the order in which they were sent. No other sign of life
// shows that; a pong does not, since a peer that reads nothing sends them too.
func (o *oneways) noteRead(c *Call) {
	if c.state == callAnswered || c.refused != nil {
		o.read = max(o.read, c.ahead)
	}
}

// unread returns about how many bytes the peer may not have read, so that they are on their way.
func (o *oneways) unread() int64 { return min(o.sent.Load()-o.read, mostOnTheWay) }
