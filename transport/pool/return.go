package pool

import (
	"net"
	"reflect"
	"slices"

	"github.com/kiteline/kiteline/internal/callback"
)

// put takes a connection back. It gives it to a waiter, keeps it, or closes it. It ignores a
// checkout that has ended already.
func (pr *peer) put(h *checkout) error {
	c := h.of
	open := pr.looksOpen(h)
	now := pr.pool.now()
	pr.mu.Lock()
	if !c.isOutLocked(h) {
		pr.mu.Unlock()
		return nil
	}
	reason := pr.keepLocked(c, now)
	if reason == notClosed && !open {
		reason = closedDead
	}
	if reason == notClosed && !pr.grantConnLocked(c, now) {
		reason = pr.restLocked(c, now)
	}
	if reason == notClosed {
		pr.mu.Unlock()
		return nil
	}
	c.closeLocked()
	pr.mu.Unlock()
	return pr.closeOne(c, reason)
}

// looksOpen is looksOpen of h's connection. It calls the user's code.
func (pr *peer) looksOpen(h *checkout) bool {
	returned := false
	defer pr.discardUnless(&returned, h)
	open := h.of.looksOpen()
	returned = true
	return open
}

// keepLocked returns why a connection that is put back is not used again, or notClosed.
func (pr *peer) keepLocked(c *pooledConn, now instant) closeReason {
	switch {
	case pr.state != peerServing || c.epoch != pr.epoch:
		return closedCleaned
	case c.dead:
		return closedDead
	case now >= c.ageEnd:
		return closedAge
	}
	return notClosed
}

// grantConnLocked gives a connection to the first waiter. It reports whether there was one.
func (pr *peer) grantConnLocked(c *pooledConn, now instant) bool {
	if pr.waiters.head == nil {
		return false
	}
	c.checkOutLocked()
	c.restedAt, c.idleEnd = now, forever
	return pr.grantLocked(claim{conn: c})
}

// restLocked puts a connection among the idle ones, or returns why not.
func (pr *peer) restLocked(c *pooledConn, now instant) closeReason {
	if len(pr.idle) >= pr.pool.config.MaxIdlePerAddress || !pr.pool.reserveIdle() {
		return closedSurplus
	}
	c.state = pooledIdle
	c.restedAt, c.idleEnd = now, later(now, pr.pool.config.MaxIdleTimeout)
	pr.idle = append(pr.idle, c)
	pr.counts.InUse--
	pr.counts.Idle++
	due := c.ageEnd
	if len(pr.idle) > pr.pool.config.MinIdlePerAddress {
		due = min(due, pr.idle[0].idleEnd)
	}
	pr.pool.expiry.schedule(due, now)
	return notClosed
}

// discard closes a connection that its user does not put back.
func (pr *peer) discard(h *checkout) error { return pr.discardAs(h, closedDiscard) }

func (pr *peer) discardAs(h *checkout, reason closeReason) error {
	pr.mu.Lock()
	if !h.of.isOutLocked(h) {
		pr.mu.Unlock()
		return nil
	}
	h.of.closeLocked()
	pr.mu.Unlock()
	return pr.closeOne(h.of, reason)
}

// Abandon is Discard for a caller that has only the connection the dialer returned, as Kitex's
// handlers have. It reports whether the pool has handed that out. It searches all connections, and
// is for calls that did not return.
func (p *Pool) Abandon(raw net.Conn) bool {
	if raw == nil || !reflect.TypeOf(raw).Comparable() {
		return false
	}
	for _, pr := range p.list() {
		if h := pr.checkoutOf(raw); h != nil {
			_ = pr.discard(h)
			return true
		}
	}
	return false
}

// checkoutOf returns the current checkout of the connection that the dialer returned as raw; nil if
// it is not in use.
func (pr *peer) checkoutOf(raw net.Conn) *checkout {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	for c := range pr.open {
		if c.raw == raw && c.state == pooledInUse {
			return c.current()
		}
	}
	return nil
}

// onDisconnect is called when c's peer has closed. It closes an idle connection. One in use is
// closed when it is put back.
func (pr *peer) onDisconnect(c *pooledConn) {
	pr.mu.Lock()
	c.dead = true
	i := -1
	if c.state == pooledIdle {
		now := pr.pool.now()
		pr.life.ended(now-c.restedAt, now)
		i = slices.Index(pr.idle, c)
		pr.idle = slices.Delete(pr.idle, i, i+1)
		pr.leaveIdleLocked(1)
		c.closeLocked()
	}
	pr.mu.Unlock()
	if i >= 0 {
		_ = pr.closeOne(c, closedDead)
	}
}

// closeOne closes a connection in pooledClosing and frees its slot, in this
// order, so that there are never more sockets than slots.
func (pr *peer) closeOne(c *pooledConn, reason closeReason) error {
	defer func() { // also if a user's connection does not return from Close
		pr.mu.Lock()
		defer pr.mu.Unlock()
		pr.counts.InUse--
		pr.counts.Open--
		pr.counts.closed(reason)
		pr.slotFreedLocked()
	}()
	return c.raw.Close()
}

// closeEach is closeOne for each of conns. A user's connection that panics or ends the goroutine in
// its Close keeps none of the others open. That is logged, since the goroutine may be the pool's
// own.
func (pr *peer) closeEach(conns []*pooledConn, reason closeReason) {
	for _, c := range conns {
		failure := callback.Apart(func() { _ = pr.closeOne(c, reason) })
		if failure != nil {
			pr.pool.panics.LogPanic("a connection's Close", pr.addr, failure.Value, failure.Stack)
		}
	}
}

// slotFreedLocked gives a freed slot to the first waiter.
func (pr *peer) slotFreedLocked() {
	switch {
	case !pr.pool.adopts && pr.state == peerServing && pr.grantLocked(claim{}):
		pr.counts.Open++
		pr.counts.Dialing++
	case pr.isEmptyLocked():
		pr.emptiedLocked()
	}
}

// emptiedLocked has the peer forgotten if it stays empty.
func (pr *peer) emptiedLocked() {
	now := pr.pool.now()
	pr.emptySince = now
	pr.pool.expiry.schedule(later(now, pr.pool.config.forgetAfter()), now)
}
