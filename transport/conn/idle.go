package conn

import (
	"net"
	"time"
)

// SetIdleTimeout closes the connection, with ErrIdleTimeout as the cause, once nothing was read or
// written on it, no callback ran and no work went on for d. Zero or less removes the timeout. The
// call restarts the time.
//
// It costs one timer per connection, which is set again only when it fires: once per d, not per
// request. No goroutine waits for it.
func (c *Conn) SetIdleTimeout(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !word(c.state.Load()).isOpen() {
		return opError("set idle timeout", c.remote, net.ErrClosed)
	}
	c.idleTimeout = max(d, 0)
	c.timed.Store(d > 0)
	c.restedAt.Store(int64(c.clock.now()))
	switch {
	case d > 0 && c.idleTimer == nil:
		c.idleTimer = time.AfterFunc(d, c.checkIdle)
	case d > 0:
		c.idleTimer.Reset(d)
	case c.idleTimer != nil:
		c.idleTimer.Stop()
		c.idleTimer = nil // frees its memory
	}
	return nil
}

// markUsed records when the connection was last in use, if it has an idle timeout. The end of a use
// is recorded before others can see it: before the change of state, and before readers and pending
// say that no wait is under way.
func (c *Conn) markUsed() {
	if c.timed.Load() {
		c.restedAt.Store(int64(c.clock.now()))
	}
}

// restedFor returns how long the connection has been unused.
func (c *Conn) restedFor() time.Duration {
	return time.Duration(c.clock.now() - instant(c.restedAt.Load()))
}

// checkIdle runs when the idle timer fires. The timer was set for the earliest
// time at which the connection could have been idle for long enough; if it was
// used since, there is a new earliest time.
func (c *Conn) checkIdle() {
	c.mu.Lock()
	timeout := c.idleTimeout
	c.mu.Unlock()
	if timeout == 0 {
		return
	}
	left := timeout - c.restedFor()
	if left <= 0 {
		left = timeout
		if !c.hasArrived() {
			c.endIdle(timeout)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idleTimeout == timeout && word(c.state.Load()).isOpen() { // else SetIdleTimeout has set it
		c.idleTimer.Reset(left)
	}
}

// endIdle closes the connection if nothing has used it for timeout. It changes exactly the state in
// which it found that, so that a use that begins or ends meanwhile keeps the connection open.
func (c *Conn) endIdle(timeout time.Duration) {
	old := c.state.Load()
	if c.readers.Load() > 0 || c.pending.Load() > 0 || c.restedFor() < timeout {
		return
	}
	next, act := word(old).on(eventIdle)
	if uint64(next) != old && c.state.CompareAndSwap(old, uint64(next)) {
		c.finishClose(act, ErrIdleTimeout)
	}
}

// hasArrived reports whether bytes have come that no worker knows of yet, so that a request that
// arrives just as the time is over is not answered with a RST. It costs one system call per
// connection that ends idle.
func (c *Conn) hasArrived() bool {
	switch word(c.state.Load()).holder() {
	case holderDormant, holderReady, holderServing, holderLingering:
		return c.sock.peek() == nil
	}
	return false
}

// stopIdleTimer stops the timer when the connection ends.
func (c *Conn) stopIdleTimer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idleTimer != nil {
		c.idleTimer.Stop()
	}
}
