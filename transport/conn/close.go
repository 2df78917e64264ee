package conn

import (
	"context"
	"io"
	"net"
	"runtime/debug"
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
	c.endWith(eventClose, cause)
}

// endWith raises ev, which may close the connection, and does what that asks for.
func (c *Conn) endWith(ev event, cause error) {
	act := c.transition(ev)
	if act&actCloseSocket != 0 {
		c.setCause(cause)
		c.stopIdleTimer()
		// This wakes whoever is parked on the socket. It must not happen in a
		// RawConn callback, whose reference it would wait for.
		_ = c.sock.Close()
	}
	if act&actTeardown != 0 {
		c.teardown()
	}
}

// release lets go of a connection that is closing; the caller held it.
func (c *Conn) release() {
	if c.transition(eventRelease)&actTeardown != 0 {
		c.teardown()
	}
}

// teardown runs once, when nobody holds the connection any more. The buffers
// are left to the collector: a goroutine of the user's may still look at what it
// read, and an idle connection's hold nothing anyway.
func (c *Conn) teardown() {
	c.armMu.Lock()
	if c.token != 0 {
		c.watcher.Forget(c.token)
		c.token = 0
	}
	c.armMu.Unlock()
	if word(c.state.Load()).has(flagHangup) {
		c.disconnect() // unless that was done: the goroutine that was to do it may be late
	}
	c.mu.Lock()
	c.ended = true
	last := c.asides == 0
	c.mu.Unlock()
	if last {
		c.finish()
	}
}

// beginAsideLocked counts a callback that begins beside the holder's. It
// reports false if it comes too late, since the connection has ended.
func (c *Conn) beginAsideLocked() bool {
	if c.ended {
		return false
	}
	c.asides++
	return true
}

// endAside ends what beginAsideLocked began. The close callbacks run elsewhere if
// it is the last: the caller may hold the lock of a write.
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
	c.mu.Lock()
	callbacks := c.closeCallbacks
	c.closeCallbacks = nil
	c.mu.Unlock()
	for i := len(callbacks) - 1; i >= 0; i-- {
		c.guard(func() { callbacks[i](c) })
	}
	if c.owner != nil {
		c.owner.forget(c)
	}
}

// hangup records that the peer has gone, err being how that was learnt; nil if
// whoever has the connection will learn it from the socket.
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

// disconnectElsewhere has OnDisconnect called by a goroutine that may run it:
// the poller's may not, and a reader's holds the reading side, which the
// callback may want to see given up.
func (c *Conn) disconnectElsewhere() {
	c.mu.Lock()
	wanted := c.onDisconnect != nil
	c.mu.Unlock()
	if wanted {
		c.spawn(c.disconnect)
	}
}

// disconnect calls OnDisconnect, the first time it is called after OnConnect.
func (c *Conn) disconnect() {
	c.mu.Lock()
	callback := c.onDisconnect
	if callback == nil || c.told || c.connecting || !c.beginAsideLocked() {
		c.mu.Unlock()
		return
	}
	c.told = true
	if c.cause == nil {
		c.cause = io.EOF // nobody has read and learnt more
	}
	c.mu.Unlock()
	c.guard(func() { callback(c.ctx, c) })
	c.endAside()
}

// AddCloseCallback has f called once when the connection has ended, last added
// first, by the goroutine that lets go of it last. It returns net.ErrClosed, and f
// is not called, if that has already begun.
func (c *Conn) AddCloseCallback(f func(c *Conn)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if word(c.state.Load()).holder() == holderClosed {
		return opError("add close callback", c.remote, net.ErrClosed)
	}
	c.closeCallbacks = append(c.closeCallbacks, f)
	return nil
}

// SetOnDisconnect sets or replaces OnDisconnect. If the peer has gone and
// nobody was told, f is called soon.
func (c *Conn) SetOnDisconnect(f func(ctx context.Context, c *Conn)) {
	c.mu.Lock()
	c.onDisconnect = f
	c.mu.Unlock()
	w := word(c.state.Load())
	if f != nil && w.has(flagHangup) && (w.holder() == holderHandling || w.holder() == holderPaused || w.holder() == holderUser) {
		c.spawn(c.disconnect)
	}
}

// guard runs a callback and turns its panic into the end of the connection.
func (c *Conn) guard(callback func()) {
	defer func() {
		if v := recover(); v != nil {
			c.closeWith(&PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	callback()
}

// spawn runs f on a goroutine of the group's, or on one of its own.
func (c *Conn) spawn(f func()) {
	if c.group != nil {
		c.group.dispatcher.do(f)
		return
	}
	go f()
}
