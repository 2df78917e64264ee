package conn

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// idle is a connection's idle timeout.
//
// The timer is set for the earliest time at which the connection could have been idle for timeout.
// Uses do not touch it: they set restedAt when they end.
type idle struct {
	// atomic
	timed    atomic.Bool  // there is a timeout; changed with mu held
	restedAt atomic.Int64 // the instant of the last use; kept only if timed

	mu      sync.Mutex
	timeout time.Duration // guarded by mu; zero: none
	timer   *time.Timer   // guarded by mu; nil without a timeout
}

// restedFor returns how long the connection has been unused at now.
func (i *idle) restedFor(now instant) time.Duration {
	return time.Duration(now - instant(i.restedAt.Load()))
}

// current returns the timeout, zero if there is none.
func (i *idle) current() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.timeout
}

// stop stops the timer when the connection ends.
func (i *idle) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.timer != nil {
		i.timer.Stop()
	}
}

// SetIdleTimeout closes the connection, with ErrIdleTimeout as the cause, once it was not in use
// for d. OnConnect, OnRequest, work (BeginWork) and a Read, Reader method, Flush or Write use it as
// long as they run, even while they wait. So a goroutine that always waits in Read keeps the
// connection open, unless SetReadTimeout ends its waits. Zero or less removes the timeout. The call
// restarts the time. It fails with net.ErrClosed after Close.
//
// It costs one timer per connection, which is set again only when it fires: once per d, not per
// request. No goroutine waits for it.
func (c *Conn) SetIdleTimeout(d time.Duration) error {
	c.idle.mu.Lock()
	defer c.idle.mu.Unlock()
	if !word(c.state.Load()).isOpen() {
		return opError("set idle timeout", c.remote, net.ErrClosed)
	}
	c.idle.timeout = max(d, 0)
	c.idle.timed.Store(d > 0)
	c.idle.restedAt.Store(int64(c.clock.now()))
	switch {
	case d > 0 && c.idle.timer == nil:
		c.idle.timer = time.AfterFunc(d, c.checkIdle)
	case d > 0:
		c.idle.timer.Reset(d)
	case c.idle.timer != nil:
		c.idle.timer.Stop()
		c.idle.timer = nil // frees its memory
	}
	return nil
}

// markUsed records when the connection was last in use, if it has an idle timeout. The end of a use
// is recorded before others can see it: before the change of state, and before readers and pending
// say that no wait is under way.
func (c *Conn) markUsed() {
	if c.idle.timed.Load() {
		c.idle.restedAt.Store(int64(c.clock.now()))
	}
}

// checkIdle runs when the idle timer fires. The timer was set for the earliest
// time at which the connection could have been idle for long enough; if it was
// used since, there is a new earliest time.
func (c *Conn) checkIdle() {
	timeout := c.idle.current()
	if timeout == 0 {
		return
	}
	left := timeout - c.idle.restedFor(c.clock.now())
	if left <= 0 {
		left = timeout
		if !c.hasArrived() {
			c.endIdle(timeout)
		}
	}
	c.idle.mu.Lock()
	defer c.idle.mu.Unlock()
	if c.idle.timeout == timeout && word(c.state.Load()).isOpen() { // else SetIdleTimeout has set it
		c.idle.timer.Reset(left)
	}
}

// endIdle closes the connection if nothing has used it for timeout. It changes exactly the state in
// which it found that, so that a use that begins or ends meanwhile keeps the connection open.
func (c *Conn) endIdle(timeout time.Duration) {
	old := c.state.Load()
	if c.input.readers.Load() > 0 || c.output.pending.Load() > 0 || c.idle.restedFor(c.clock.now()) < timeout {
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
