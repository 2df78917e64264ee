package conn

import (
	"context"
	"io"
	"net"

	"github.com/kiteline/kiteline/internal/callback"
)

// Close ends the connection: reads and writes under way, and later ones, fail
// with net.ErrClosed. The close callbacks run before Close returns, unless a
// callback of this connection is running: then they run when that has returned.
// It does not wait for the peer. Closing again does nothing. It always returns
// nil, and may be called from any goroutine, callbacks included.
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
		c.setCause(cause)
		c.stopIdleTimer()
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
	c.armMu.Lock()
	if c.token != 0 {
		c.watcher.Forget(c.token)
		c.token = 0
	}
	c.armMu.Unlock()
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
	c.mu.Lock()
	callsBack := len(c.closeCallbacks) > 0 || c.onDisconnect != nil
	c.mu.Unlock()
	if !callsBack {
		c.teardown()
		return
	}
	_ = callback.Apart(c.teardown) // OnPanic was told of failures
}

// tornDown has the close callbacks run, after the last of the other callbacks.
func (c *Conn) tornDown() {
	c.mu.Lock()
	c.ended = true
	last := c.asides == 0
	c.mu.Unlock()
	if last {
		c.finish()
	}
}

// beginAsideLocked counts a callback that begins beside the holder's. It reports false if the
// connection has already ended.
func (c *Conn) beginAsideLocked() bool {
	if c.ended {
		return false
	}
	c.asides++
	return true
}

// endAside ends what beginAsideLocked began. After the last one the close callbacks run on another
// goroutine: the caller may hold a write's lock.
func (c *Conn) endAside() {
	c.mu.Lock()
	c.asides--
	last := c.ended && c.asides == 0
	c.mu.Unlock()
	if last {
		c.spawn(c.finish)
	}
}

// finish runs the close callbacks, once, after the last of the other callbacks.
func (c *Conn) finish() {
	for onClose := c.takeCloseCallback(); onClose != nil; onClose = c.takeCloseCallback() {
		callback.Run(
			func() { onClose(c) },
			func(failure *callback.Failure) {
				if failure != nil {
					_ = c.failed(failure)
				}
				if failure.EndsGoroutine() {
					c.finish()
				}
			})
	}
	if c.owner != nil {
		c.owner.forget(c)
	}
}

// takeCloseCallback removes and returns the next close callback, nil if there is none.
func (c *Conn) takeCloseCallback() func(*Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.closeCallbacks) - 1
	if last < 0 {
		return nil
	}
	onClose := c.closeCallbacks[last]
	c.closeCallbacks = c.closeCallbacks[:last]
	return onClose
}

// hangup records that the peer has gone. err says how that was learned; nil means that the reader
// will learn it from the socket.
func (c *Conn) hangup(err error) {
	act := c.transition(eventHangup)
	if err != nil {
		c.setCause(opError("read", c.remote, err))
	}
	if act&actQueue != 0 {
		c.group.dispatcher.push(c)
		c.group.dispatcher.wake()
	}
	if act&actDisconnect != 0 {
		c.disconnectElsewhere()
	}
}

// disconnectElsewhere has OnDisconnect called on another goroutine: the poller's must not run it,
// and a reader still holds the reading side, which the callback may expect to be free.
func (c *Conn) disconnectElsewhere() {
	c.mu.Lock()
	wanted := c.onDisconnect != nil
	c.mu.Unlock()
	if wanted {
		c.spawn(func() { c.disconnect(func() {}) })
	}
}

// disconnect calls OnDisconnect, once and not before OnConnect has returned. Then it calls then,
// even if OnDisconnect was not due or has ended the goroutine.
func (c *Conn) disconnect(then func()) {
	c.mu.Lock()
	onDisconnect := c.onDisconnect
	if onDisconnect == nil || c.told || c.connecting || !c.beginAsideLocked() {
		c.mu.Unlock()
		then()
		return
	}
	c.told = true
	if c.cause == nil {
		c.cause = io.EOF // no reader has learned more
	}
	c.mu.Unlock()
	callback.Run(
		func() { onDisconnect(c.ctx, c) },
		func(failure *callback.Failure) {
			if failure != nil {
				_ = c.failed(failure)
			}
			c.endAside()
			then()
		})
}

// AddCloseCallback has f called once when the connection has ended; the callback added last is
// called first. The goroutine is the package's own, and f may block or end it. If the connection is
// already torn down, f is not called and the error matches net.ErrClosed.
func (c *Conn) AddCloseCallback(f func(c *Conn)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if word(c.state.Load()).holder() == holderClosed {
		return opError("add close callback", c.remote, net.ErrClosed)
	}
	c.closeCallbacks = append(c.closeCallbacks, f)
	return nil
}

// SetOnDisconnect sets or replaces OnDisconnect. If the peer has gone and OnDisconnect was not
// called yet, f is called soon.
func (c *Conn) SetOnDisconnect(f func(ctx context.Context, c *Conn)) {
	c.mu.Lock()
	c.onDisconnect = f
	c.mu.Unlock()
	w := word(c.state.Load())
	if f != nil && w.has(flagHangup) && (w.holder() == holderHandling || w.holder() == holderPaused || w.holder() == holderUser) {
		c.disconnectElsewhere()
	}
}

// failed tells OnPanic that a callback has failed, and returns the failure as an error.
func (c *Conn) failed(failure *callback.Failure) error {
	err := &PanicError{Value: failure.Value, Stack: failure.Stack}
	c.config.tellPanic(c, err)
	return err
}

// spawn runs f on a worker of the group, or without a group on a new goroutine.
func (c *Conn) spawn(f func()) {
	if c.group != nil {
		c.group.dispatcher.do(f)
		return
	}
	go f()
}
