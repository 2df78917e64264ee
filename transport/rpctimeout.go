package transport

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/transport/netpollconn"
	"github.com/kiteline/kiteline/transport/pool"
)

// timedCall is a call that ends at a deadline, with its caller's context, or with the first of the
// two. It is the context of what runs inside it. The calling goroutine makes the call itself, and
// no other goroutine waits for it, so each of its waits must end with the call.
//
//   - A wait for a connection, and a dial, have the timedCall as their context.
//   - A wait for the reply has the time that is left as its timeout, and so has a write that the
//     kernel has no room for. That costs no timer.
//   - A context that ends closes the connection that the call uses. So does the deadline while the
//     call sends a message that is too long for one timeout.
//   - User code gets the timedCall as its context. Code that disregards it is not interrupted.
//
// A timer, a channel, and a watch over a caller's context that can end, are made only when needed:
// for code that asks for Done, or for a connection that must be closed. Kitex's service discovery,
// which asks for Done once in each call, does not need them; see timeoutKeeper.onlyLooks.
type timedCall struct {
	// immutable once the call runs
	caller       context.Context // without the call's own limit
	info         rpcinfo.RPCInfo // tells this call from a nested one, whose context has its values
	start        time.Time
	timeout      time.Duration  // Kitex's; zero: only the caller's context limits the call
	deadline     time.Time      // the earlier of the two; zero: none
	writeTimeout time.Duration  // what the connections have otherwise; zero or less: none
	keeper       *timeoutKeeper // the client's; nil in tests of a timedCall alone

	// atomic: middlewares may continue a call on a goroutine of their own, and leave it behind
	phase atomic.Uint32 // a CallPhase
	sent  sendings      // attempts that may have reached the kernel

	mu sync.Mutex // taken before a connection's locks

	// guarded by mu
	err      error         // why the call has ended; nil until then, never changed after
	done     chan struct{} // closed when err is set; nil until Done needs it
	timer    *time.Timer   // sets err at the deadline; made with done
	conn     net.Conn      // closed if the call ends before letGo; nil: none in use
	watching bool          // watch was called
	unwatch  func() bool   // ends the watch; nil: not watching, or not yet
	failed   time.Time     // when the transport failed the call; zero: it did not
	echo     error         // that error, if it says only that the call has ended
}

var (
	_ context.Context = (*timedCall)(nil)
	_ pool.TimedCall  = (*timedCall)(nil)
)

// timedCallOf returns the timedCall of info that ctx belongs to; nil if the call is not timed.
func timedCallOf(ctx context.Context, info rpcinfo.RPCInfo) *timedCall {
	if c, ok := ctx.Value(pool.TimedCallKey{}).(*timedCall); ok && c.info == info {
		return c
	}
	return nil
}

// beginCall starts a call of info that takes at most timeout. A zero timeout is no limit, and a
// negative one has passed already. The caller ends the call with end.
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

// over returns why the call had ended before it began; nil if it had not.
func (c *timedCall) over() error {
	if err := c.caller.Err(); err != nil {
		return err
	}
	if !c.deadline.IsZero() && !c.deadline.After(c.start) {
		return context.DeadlineExceeded
	}
	return nil
}

// watch makes the call end at the moment its caller's context ends, and not only when Err is next
// called. Done and use call it, so a call that needs neither has no watch.
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

// cut ends a call in flight if its time is up or its caller's context has ended.
func (c *timedCall) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lookLocked() && c.conn != nil {
		// Under the lock: after letGo the connection may be another call's.
		_ = c.conn.Close()
		c.conn = nil
	}
}

// lookLocked reports whether the call has ended. It ends the call if its caller's context has ended
// or its deadline has passed.
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

// doneOrTimer returns the channel of Done, and makes it if there is none. Without a watch over the
// caller's context only the deadline closes it.
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
	if key == (pool.TimedCallKey{}) {
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

// limitRead limits the next wait for data to the time that is left.
func (c *timedCall) limitRead(nc *netpollconn.Conn) {
	if !c.deadline.IsZero() {
		_ = nc.SetReadTimeout(c.left()) // it only stores the duration
	}
}

// timedWriteBytes is how many bytes one write timeout of a connection covers.
const timedWriteBytes = 256 << 10

// limitWrite limits a write of n bytes to the time that is left. It fails if the call has ended, so
// that no request goes out that no caller waits for. The caller calls unlimitWrite after the write.
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
	return c.BeginSending()
}

func (c *timedCall) unlimitWrite(nc *netpollconn.Conn) {
	if !c.deadline.IsZero() {
		_ = nc.SetWriteTimeout(c.writeTimeout)
	}
}

// RPCInfo implements pool.TimedCall.
func (c *timedCall) RPCInfo() rpcinfo.RPCInfo { return c.info }

// Limits implements pool.TimedCall.
func (c *timedCall) Limits() (context.Context, time.Time) { return c.caller, c.deadline }

// left returns how much time is left. It is never zero, which would mean no limit.
func (c *timedCall) left() time.Duration { return max(time.Until(c.deadline), 1) }

// enter notes how far the call is. A nil timedCall is one that is not timed.
func (c *timedCall) enter(p CallPhase) {
	if c != nil {
		c.phase.Store(uint32(p))
	}
}

// sealedCall is a timedCall on its way through Kitex's own middleware for timeouts, which makes a
// call on the calling goroutine if its context cannot end. Nothing else gets a sealedCall for its
// context.
type sealedCall struct{ *timedCall }

// Done hides that the call can end.
func (sealedCall) Done() <-chan struct{} { return nil }

// Value hides the call: if other code takes a sealedCall for its context after all, the transport
// must not limit what Kitex limits.
func (s sealedCall) Value(key any) any { return s.caller.Value(key) }
