package conn

import (
	"net"

	"github.com/kiteline/kiteline/internal/callback"
)

// Close ends the connection: waits under way end, and from then on each read from the socket, each
// Write and each Flush of bytes fail with an *OpError around net.ErrClosed. The Reader still gives
// out the bytes that it holds. Close does not wait for the peer. Closing again does nothing. It
// always returns nil, and may be called from any goroutine, callbacks included.
//
// The close callbacks run before Close returns, unless a worker serves the connection or waits on
// its socket, another callback runs, or work goes on (BeginWork): then they run when that has
// ended, on another goroutine.
func (c *Conn) Close() error {
	c.closeWith(net.ErrClosed)
	return nil
}

// closeWith is Close with a reason.
func (c *Conn) closeWith(cause error) {
	c.finishClose(c.transition(eventClose), cause)
}

// finishClose does what act asks for, after a change of state that may have closed the connection.
// cause is the reason for that.
func (c *Conn) finishClose(act action, cause error) {
	if act&actCloseSocket != 0 {
		c.callbacks.setCause(cause)
		c.idle.stop()
		// This wakes a goroutine that is parked on the socket. It must not happen in a RawConn
		// callback: it would wait for the callback's reference.
		_ = c.sock.Close()
	}
	if act&actTeardown != 0 {
		c.teardownApart()
	}
}

// release lets go of a connection that is closing; the caller held it.
func (c *Conn) release() {
	if c.transition(eventRelease)&actTeardown != 0 {
		c.teardown()
	}
}

// teardown runs once, when the connection has no holder left. The buffers are left to the garbage
// collector: a goroutine of the user may still look at what it read, and an idle connection's
// buffers are empty anyway. A callback may end the goroutine, which is a worker's with nothing else
// to do, or teardownApart's.
func (c *Conn) teardown() {
	c.arming.forget()
	if c.group != nil {
		c.group.members.leave(c)
	}
	if !word(c.state.Load()).has(flagHangup) {
		c.tornDown()
		return
	}
	c.disconnect(c.tornDown) // unless already done: the goroutine meant to do it may be late
}

// teardownApart is teardown for a goroutine that is not a worker's and must go on.
func (c *Conn) teardownApart() {
	if !c.callbacks.hasLast() {
		c.teardown()
		return
	}
	_ = callback.Apart(c.teardown) // OnPanic was told of failures
}

// tornDown has the close callbacks run, after the last of the other callbacks.
func (c *Conn) tornDown() {
	if c.callbacks.end() {
		c.finish()
	}
}

// hangup records that the peer has gone. err says how that was learned; nil means that the reader
// will learn it from the socket.
func (c *Conn) hangup(err error) {
	act := c.transition(eventHangup)
	if err != nil {
		c.callbacks.setCause(opError("read", c.remote, err))
	}
	if act&actQueue != 0 {
		c.group.dispatcher.push(c)
		c.group.dispatcher.wake()
	}
	if act&actDisconnect != 0 {
		c.disconnectElsewhere()
	}
}
