package pool

import (
	"context"
	"net"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// pooledConn is a connection of a pool.
type pooledConn struct {
	// immutable after newPooledConn
	peer   *peer
	raw    net.Conn        // what the dialer returned
	ours   *conn.Conn      // raw, if it is Kiteline's; nil otherwise
	active remote.IsActive // raw, if it can tell; nil otherwise
	below  remote.IsActive // what a Kiteline raw wraps, if it can tell; nil otherwise
	epoch  uint64          // the peer's when it was dialed
	ageEnd instant         // when it is over age

	// guarded by peer.mu
	state    pooledState
	restedAt instant // when it was last put back
	idleEnd  instant // when it will have been idle for too long
	dead     bool    // the peer's FIN was seen

	// turn is the index of the checkout that is valid if state is pooledInUse. Guarded by peer.mu;
	// the goroutine that has the connection in use may read it without.
	turn      uint8
	checkouts [rememberedCheckouts]checkout
}

// pooledState says where a connection is.
type pooledState uint8

const (
	// pooledInUse: handed out, or on its way to a caller of Get, which checks it. Left by Put,
	// Discard or a failed check.
	pooledInUse pooledState = iota

	// pooledIdle: in its peer's list. Left when Get takes it, or when the pool closes it.
	pooledIdle

	// pooledClosing: it is being closed, or is closed. Terminal.
	pooledClosing
)

// String returns the state in a word.
func (s pooledState) String() string {
	switch s {
	case pooledInUse:
		return "in use"
	case pooledIdle:
		return "idle"
	case pooledClosing:
		return "closing"
	}
	return "invalid"
}

// rememberedCheckouts is how many consecutive checkouts of one connection have values of their own;
// see checkout.
const rememberedCheckouts = 4

// checkout is what Get returns: a connection from Get to Put or Discard. Consecutive checkouts of a
// connection are different values, allocated with it, so that a caller who puts one back twice does
// not take the connection from its current user.
type checkout struct {
	net.Conn // the dialer's
	of       *pooledConn
}

var (
	_ net.Conn        = (*checkout)(nil)
	_ remote.RawConn  = (*checkout)(nil)
	_ remote.IsActive = (*checkout)(nil)
)

// RawConn returns the connection as the dialer returned it.
func (h *checkout) RawConn() net.Conn { return h.Conn }

// IsActive reports whether the connection can be used. Where the dialer's connection
// cannot tell, it is active until it is put back, discarded or closed.
func (h *checkout) IsActive() bool {
	if h.of.active != nil {
		return h.of.active.IsActive()
	}
	h.of.peer.mu.Lock()
	defer h.of.peer.mu.Unlock()
	return h.of.isOutLocked(h)
}

// Close is the pool's Discard.
func (h *checkout) Close() error { return h.of.peer.discard(h) }

// newPooledConn returns raw as a connection in use.
func newPooledConn(pr *peer, raw net.Conn, epoch uint64) *pooledConn {
	c := &pooledConn{peer: pr, raw: raw, epoch: epoch, ageEnd: pr.pool.ageEnd()}
	for i := range c.checkouts {
		c.checkouts[i] = checkout{Conn: raw, of: c}
	}
	switch nc := raw.(type) {
	case *netpollconn.Conn:
		c.ours = nc.Conn
	case *conn.Conn:
		c.ours = nc
	}
	c.active, _ = raw.(remote.IsActive)
	if c.ours != nil {
		c.below, _ = c.ours.NetConn().(remote.IsActive)
	}
	return c
}

// watch closes the connection when the peer's FIN arrives while it is idle. It replaces any
// OnDisconnect that the dialer has set.
func (c *pooledConn) watch() {
	if c.ours != nil {
		c.ours.SetOnDisconnect(func(context.Context, *conn.Conn) { c.peer.onDisconnect(c) })
	}
}

// current returns the valid checkout. The caller has the connection in use.
func (c *pooledConn) current() *checkout { return &c.checkouts[c.turn] }

// checkOutLocked begins a new checkout.
func (c *pooledConn) checkOutLocked() {
	c.state = pooledInUse
	c.turn = (c.turn + 1) % rememberedCheckouts
}

// closeLocked notes that the caller is about to close the connection.
func (c *pooledConn) closeLocked() {
	c.state = pooledClosing
	delete(c.peer.open, c)
}

// isOutLocked reports whether h is the current checkout.
func (c *pooledConn) isOutLocked(h *checkout) bool {
	return c.state == pooledInUse && h == c.current()
}

// looksOpen reports whether nothing is known to have ended the connection. It makes no system call
// if the connection is Kiteline's. It must not be called under a lock.
func (c *pooledConn) looksOpen() bool {
	if c.ours != nil {
		return c.ours.Err() == nil
	}
	return c.active == nil || c.active.IsActive()
}

// unfit returns why a connection that comes from the pool must not be used, or
// notClosed. It may make system calls. The caller has it in use.
func (c *pooledConn) unfit(now instant, d doubt) closeReason {
	// A connection that can tell whether it is active may be kept beyond its time. For one that
	// cannot, only that end keeps a dead one from being handed out.
	kept := c.active != nil && c.peer.pool.config.MinIdlePerAddress > 0
	switch {
	case now >= c.ageEnd:
		return closedAge
	case now >= c.idleEnd && !kept:
		return closedExpired
	case now-c.restedAt >= d.from && now-c.restedAt < d.to:
		return closedExpired // the peer may be closing it
	case c.ours != nil && !c.ours.IsReusable():
		return closedDead
	case c.below != nil && !c.below.IsActive(): // no poller of Kiteline's watches it
		return closedDead
	case c.ours == nil && c.active != nil && !c.active.IsActive():
		return closedDead
	}
	return notClosed
}
