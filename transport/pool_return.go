package transport

import (
	"slices"
)

// put takes a connection back: for a waiter, for later, or to close it. A
// checkout that has ended already is left alone.
func (pr *poolPeer) put(h *checkout) error {
	c := h.of
	open := c.looksOpen()
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
	if reason == notClosed && !pr.grantConnLocked(c) {
		reason = pr.restLocked(c, now)
	}
	if reason == notClosed {
		pr.mu.Unlock()
		return nil
	}
	c.state = pooledClosing
	pr.mu.Unlock()
	return pr.closeOne(c, reason)
}

// keepLocked returns why a connection that comes back is not used again, or notClosed.
func (pr *poolPeer) keepLocked(c *pooledConn, now instant) closeReason {
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
func (pr *poolPeer) grantConnLocked(c *pooledConn) bool {
	if pr.waiters.head == nil {
		return false
	}
	c.checkOutLocked()
	c.idleEnd = forever
	return pr.grantLocked(claim{conn: c})
}

// restLocked puts a connection among the idle ones, or returns why it does not.
func (pr *poolPeer) restLocked(c *pooledConn, now instant) closeReason {
	if len(pr.idle) >= pr.pool.config.MaxIdlePerAddress || !pr.pool.reserveIdle() {
		return closedSurplus
	}
	c.state = pooledIdle
	c.idleEnd = later(now, pr.pool.config.MaxIdleTimeout)
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

// discard closes a connection that its user does not want back.
func (pr *poolPeer) discard(h *checkout) error { return pr.discardAs(h, closedDiscard) }

func (pr *poolPeer) discardAs(h *checkout, reason closeReason) error {
	pr.mu.Lock()
	if !h.of.isOutLocked(h) {
		pr.mu.Unlock()
		return nil
	}
	h.of.state = pooledClosing
	pr.mu.Unlock()
	return pr.closeOne(h.of, reason)
}

// onDisconnect is told that c's peer has closed. An idle connection is closed;
// one in use is closed when it comes back.
func (pr *poolPeer) onDisconnect(c *pooledConn) {
	pr.mu.Lock()
	c.dead = true
	i := -1
	if c.state == pooledIdle {
		i = slices.Index(pr.idle, c)
		pr.idle = slices.Delete(pr.idle, i, i+1)
		pr.leaveIdleLocked(1)
		c.state = pooledClosing
	}
	pr.mu.Unlock()
	if i >= 0 {
		_ = pr.closeOne(c, closedDead)
	}
}

// closeOne closes a connection in pooledClosing and frees its slot, in this
// order, so that there are never more sockets than slots.
func (pr *poolPeer) closeOne(c *pooledConn, reason closeReason) error {
	err := c.raw.Close()
	pr.mu.Lock()
	pr.counts.InUse--
	pr.counts.Open--
	pr.counts.closed(reason)
	pr.slotFreedLocked()
	pr.mu.Unlock()
	return err
}

// slotFreedLocked gives a slot that has become free to the first waiter.
func (pr *poolPeer) slotFreedLocked() {
	switch {
	case pr.state == peerServing && pr.grantLocked(claim{}):
		pr.counts.Open++
		pr.counts.Dialing++
	case pr.counts.Open == 0:
		now := pr.pool.now()
		pr.emptySince = now
		pr.pool.expiry.schedule(later(now, pr.pool.config.forgetAfter()), now)
	}
}
