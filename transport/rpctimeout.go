package transport

import (
	"cmp"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/transport/netpollconn"
)

// timedCall is a call that ends at a deadline, with its caller's context, or
// with the first of the two. It is the context of what runs inside it. The
// calling goroutine makes the call itself and is never waited for by another:
// whatever it waits in has to end with the call.
//
//   - A wait for a connection, and a dial, have the timedCall as their context.
//   - A wait for the reply has the time that is left as its timeout, and so has
//     a write that the kernel has no room for. That costs no timer.
//   - A context that ends closes the connection that the call uses, and so does
//     the deadline while a message goes out that is too long for one timeout.
//   - User code gets the timedCall as its context. Code that disregards it is
//     not interrupted.
//
// A timer, a channel, and the watch over a caller's context that can end, are made when they are
// needed: by code that asks for Done, or by a connection that has to be closed. Kitex's service
// discovery, which asks each call once, does not need them; see timeoutKeeper.onlyLooks.
type timedCall struct {
	// immutable once the call runs
	caller       context.Context // without the call's own limit
	info         rpcinfo.RPCInfo // whose call it is: a nested call's context has this one's values too
	start        time.Time
	timeout      time.Duration  // Kitex's; zero: only the caller's context limits the call
	deadline     time.Time      // the earlier one of the two; zero: none
	writeTimeout time.Duration  // what the connections have otherwise; zero or less: none
	keeper       *timeoutKeeper // the client's; nil in tests of a timedCall alone

	// atomic: middlewares may go on with a call on a goroutine of their own, and leave it behind
	phase atomic.Uint32 // a CallPhase
	sent  sendings      // attempts of which the kernel may have some

	mu sync.Mutex // taken before a connection's locks

	// guarded by mu
	err      error         // why the call has ended; nil until then. It never changes again
	done     chan struct{} // closed when err is set; nil until it is asked for
	timer    *time.Timer   // sets err at the deadline; made with done
	conn     net.Conn      // closed if the call ends before the connection is let go; nil: none in use
	watching bool          // the end of the caller's context is seen, where it can end
	unwatch  func() bool   // ends that; nil: not watching, or not yet
	failed   time.Time     // when the transport failed the call; zero: it did not
	echo     error         // what it failed with, if that says only that the call has ended
}

var _ context.Context = (*timedCall)(nil)

// timedCallKey is the key of a timedCall among its own values.
type timedCallKey struct{}

// timedCallOf returns the call of info that ctx belongs to, nil if it is not timed.
func timedCallOf(ctx context.Context, info rpcinfo.RPCInfo) *timedCall {
	if c, ok := ctx.Value(timedCallKey{}).(*timedCall); ok && c.info == info {
		return c
	}
	return nil
}

// beginCall starts a call of info that takes at most timeout, unless that is
// zero; a negative one has passed already. The caller ends it with end.
func beginCall(ctx context.Context, info rpcinfo.RPCInfo, timeout, writeTimeout time.Duration) *timedCall {
	c := &timedCall{caller: ctx, info: info, start: time.Now(), timeout: timeout, writeTimeout: writeTimeout}
	if deadline, limited := ctx.Deadline(); limited {
		// With start's monotonic reading, which no step of the wall clock moves.
		c.deadline = c.start.Add(deadline.Sub(c.start))
	}
	if timeout != 0 {
		if own := c.start.Add(timeout); c.deadline.IsZero() || own.Before(c.deadline) {
			c.deadline = own
		}
	}
	return c
}

// over returns why the call had ended before it began, nil if it had not.
func (c *timedCall) over() error {
	if err := c.caller.Err(); err != nil {
		return err
	}
	if !c.deadline.IsZero() && !c.deadline.After(c.start) {
		return context.DeadlineExceeded
	}
	return nil
}

// watch has the call end with its caller's context when that ends, and not only when it is
// looked at. Done and use call it, so that a call which needs neither has no watch.
func (c *timedCall) watch() {
	if c.caller.Done() == nil {
		return
	}
	c.mu.Lock()
	begin := !c.watching && c.err == nil
	c.watching = true
	c.mu.Unlock()
	if !begin {
		return
	}
	unwatch := context.AfterFunc(c.caller, c.cut) // the caller's code, so not under the lock
	c.mu.Lock()
	c.unwatch = unwatch
	ended := c.err != nil
	c.mu.Unlock()
	if ended {
		unwatch()
	}
}

// end ends a call that has returned. Err is context.Canceled from then on if
// nothing ended it before.
func (c *timedCall) end() {
	c.mu.Lock()
	c.endLocked(context.Canceled)
	if c.timer != nil {
		c.timer.Stop()
	}
	unwatch := c.unwatch
	c.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
}

// cut ends a call that is still under way if it is time.
func (c *timedCall) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lookLocked() && c.conn != nil {
		// Under the lock: once it is let go it may be another call's.
		_ = c.conn.Close()
		c.conn = nil
	}
}

// lookLocked reports whether the call has ended, as it has with its caller's
// context and at its deadline.
func (c *timedCall) lookLocked() bool {
	if c.err == nil {
		switch err := c.caller.Err(); {
		case err != nil:
			c.endLocked(err)
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			c.endLocked(context.DeadlineExceeded)
		}
	}
	return c.err != nil
}

func (c *timedCall) endLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
}

// Deadline implements context.Context.
func (c *timedCall) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// Done implements context.Context.
func (c *timedCall) Done() <-chan struct{} {
	if c.Err() == nil && c.keeper.onlyLooks() {
		return c.keeper.open
	}
	c.watch()
	return c.doneOrTimer()
}

// doneOrTimer returns the channel of Done, which it makes if there is none. Without a watch over
// the caller's context only the deadline closes it.
func (c *timedCall) doneOrTimer() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		switch {
		case c.err != nil:
			close(c.done)
		case !c.lookLocked() && !c.deadline.IsZero():
			c.timer = time.AfterFunc(time.Until(c.deadline), c.cut)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *timedCall) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookLocked()
	return c.err
}

// Value implements context.Context.
func (c *timedCall) Value(key any) any {
	if key == (timedCallKey{}) {
		return c
	}
	return c.caller.Value(key)
}

// use has nc closed if the call ends before letGo.
func (c *timedCall) use(nc net.Conn) {
	c.watch()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nc
	if c.err != nil {
		_ = nc.Close()
	}
}

// letGo leaves the connection alone from now on.
func (c *timedCall) letGo() {
	c.mu.Lock()
	c.conn = nil
	c.mu.Unlock()
}

// limitRead gives the next wait for data the time that is left.
func (c *timedCall) limitRead(nc *netpollconn.Conn) {
	if !c.deadline.IsZero() {
		_ = nc.SetReadTimeout(c.left()) // it only stores the duration
	}
}

// timedWriteBytes is how much a connection's write timeout is for.
const timedWriteBytes = 256 << 10

// limitWrite gives a write of n bytes the time that is left. It fails if the
// call has ended: nothing goes out that nobody waits for. The caller calls
// unlimitWrite after the write.
func (c *timedCall) limitWrite(nc *netpollconn.Conn, n int) error {
	limited := !c.deadline.IsZero()
	left := time.Until(c.deadline)
	if !limited || left <= 0 {
		if err := c.Err(); err != nil {
			return err
		}
	}
	if limited && (c.writeTimeout <= 0 || left < c.writeTimeout) {
		_ = nc.SetWriteTimeout(left) // it only stores the duration
	}
	if limited && n > timedWriteBytes {
		c.doneOrTimer() // the timer closes the connection
	}
	return c.beginSending()
}

// beginSending counts an attempt to send the request. It fails if the caller was told that
// nothing was sent. A nil timedCall is one that is not timed.
func (c *timedCall) beginSending() error {
	if c == nil || c.sent.begin() {
		return nil
	}
	return cmp.Or(c.Err(), context.Canceled)
}

func (c *timedCall) unlimitWrite(nc *netpollconn.Conn) {
	if !c.deadline.IsZero() {
		_ = nc.SetWriteTimeout(c.writeTimeout)
	}
}

// left is how much time is left, and never nothing, which would mean no limit.
func (c *timedCall) left() time.Duration { return max(time.Until(c.deadline), 1) }

// enter notes how far the call is. A nil timedCall is one that is not timed.
func (c *timedCall) enter(p CallPhase) {
	if c != nil {
		c.phase.Store(uint32(p))
	}
}

// sealedCall is a timedCall on its way through Kitex's own middleware for
// timeouts, which makes a call on the calling goroutine if its context cannot
// end. It is not the context of anything else.
type sealedCall struct{ *timedCall }

// Done hides that the call can end.
func (sealedCall) Done() <-chan struct{} { return nil }

// Value hides the call: if anybody else takes a sealedCall for its context, the
// transport must not limit what Kitex limits.
func (s sealedCall) Value(key any) any { return s.caller.Value(key) }
