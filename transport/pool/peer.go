package pool

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cloudwego/kitex/pkg/remote"
)

// netAddr is an address of a pool, as a net.Addr for reporters and errors.
type netAddr struct{ network, address string }

// Network implements net.Addr.
func (a netAddr) Network() string { return a.network }

// String implements net.Addr.
func (a netAddr) String() string { return a.address }

// compare orders addresses by network and address.
func (a netAddr) compare(b netAddr) int {
	return cmp.Or(cmp.Compare(a.network, b.network), cmp.Compare(a.address, b.address))
}

// peer holds the connections to one address.
//
// A slot is the right to have one connection. counts.Open counts the slots taken, at most
// MaxConnsPerAddress. A goroutine that frees a slot gives it to the first waiter. So while a call
// waits no connection is idle and no slot is free, and no call overtakes another. A pool that
// adopts connections has no slots, and its waiters may leave idle connections alone; see queue.
//
// No method of a net.Conn is called with mu held: it may make system calls, or call back.
type peer struct {
	// immutable after newPeer
	pool *Pool
	addr netAddr
	name net.Addr // addr, made an interface once

	reuses atomic.Uint64 // Counts.Reuses

	mu sync.Mutex // taken after Pool.mu, before expiryTimer.mu

	// guarded by mu
	state      peerState
	epoch      uint64                   // counts cleans; connections of an earlier epoch are closed
	open       map[*pooledConn]struct{} // all that are not pooledClosing
	idle       []*pooledConn            // in pooledIdle, by last use: idleEnd never falls
	waiters    waitQueue
	counts     Counts  // without Reuses
	emptySince instant // when Open last fell to zero
	life       idleLife
}

// peerState says whether a peer gives connections.
type peerState uint8

const (
	// peerServing: it gives connections. Left when it is forgotten, or by the
	// pool's Close.
	peerServing peerState = iota

	// peerForgotten: it had no connections and is no longer the pool's. A Get that had found it
	// before looks again. Terminal.
	peerForgotten

	// peerClosed: the pool is closed. Connections that are put back are closed. Terminal.
	peerClosed
)

// String returns the state in a word.
func (s peerState) String() string {
	switch s {
	case peerServing:
		return "serving"
	case peerForgotten:
		return "forgotten"
	case peerClosed:
		return "closed"
	}
	return "invalid"
}

// errForgotten: the peer is no longer the pool's. Pool's methods look again.
var errForgotten = errors.New("address forgotten")

func newPeer(p *Pool, addr netAddr) *peer {
	return &peer{pool: p, addr: addr, name: addr, emptySince: p.now(), open: make(map[*pooledConn]struct{})}
}

// opError returns err as an error of operation op on the peer's address.
func (pr *peer) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: pr.addr.network, Addr: pr.name, Err: err}
}

// get is Pool.Get for the peer's address. It may return errForgotten, unwrapped.
func (pr *peer) get(ctx context.Context, opt remote.ConnOption) (net.Conn, error) {
	pr.mu.Lock()
	got := pr.claimLocked()
	life := pr.life
	pr.mu.Unlock()
	if got.waiter != nil {
		got = pr.await(ctx, got.waiter)
	}
	for got.conn != nil {
		reason := pr.judge(got.conn, life)
		if reason == notClosed {
			return pr.reuse(got.conn), nil
		}
		got = pr.replace(got.conn, reason)
	}
	if got.err != nil {
		return nil, got.err
	}
	c, err := pr.dial(ctx, opt)
	if err != nil {
		return nil, err
	}
	return c.current(), nil
}

// judge is unfit at this moment, given life as it was when c was claimed. A connection that is fit
// may refute it.
func (pr *peer) judge(c *pooledConn, life idleLife) closeReason {
	now := pr.pool.now()
	doubt := life.doubt(now)
	reason := pr.unfit(c, now, doubt)
	if reason == notClosed && doubt.to > 0 && now-c.restedAt >= doubt.to {
		pr.refuteLife()
	}
	return reason
}

// reuse hands out a connection that was used before.
func (pr *peer) reuse(c *pooledConn) *checkout {
	pr.reuses.Add(1)
	return pr.handOut(c, pr.reportReuse)
}

// handOut calls report and returns c, which the caller has in use. It closes c if report panics or
// ends the goroutine, since the caller then cannot.
func (pr *peer) handOut(c *pooledConn, report func()) *checkout {
	returned := false
	defer pr.discardUnless(&returned, c.current())
	report()
	returned = true
	return c.current()
}

// unfit is c.unfit for a c that the caller has in use. It calls the user's code.
func (pr *peer) unfit(c *pooledConn, now instant, d doubt) closeReason {
	returned := false
	defer pr.discardUnless(&returned, c.current())
	reason := c.unfit(now, d)
	returned = true
	return reason
}

// discardUnless is deferred around a call of the user's code, which may panic or end the goroutine.
// Then it closes h, which would otherwise be in use forever.
func (pr *peer) discardUnless(returned *bool, h *checkout) {
	if !*returned {
		_ = pr.discardAs(h, closedDead)
	}
}

// claimLocked takes the idle connection used last, else a slot, else a place in the queue.
func (pr *peer) claimLocked() claim {
	if err := pr.refusalLocked(); err != nil {
		return claim{err: err}
	}
	if last := len(pr.idle) - 1; last >= 0 {
		c := pr.idle[last]
		pr.idle[last] = nil
		pr.idle = pr.idle[:last]
		pr.leaveIdleLocked(1)
		c.checkOutLocked()
		return claim{conn: c}
	}
	if !pr.pool.adopts && pr.counts.Open < pr.pool.config.MaxConnsPerAddress {
		pr.counts.Open++
		pr.counts.Dialing++
		return claim{}
	}
	return pr.queueLocked()
}

// refusalLocked returns why the peer gives no connections; nil if it does.
func (pr *peer) refusalLocked() error {
	switch pr.state {
	case peerForgotten:
		return errForgotten
	case peerClosed:
		return pr.opError("get connection", ErrClosed)
	}
	return nil
}

// queueLocked takes a place in the queue.
func (pr *peer) queueLocked() claim {
	pr.counts.Waits++
	pr.counts.Waiting++
	return claim{waiter: pr.waiters.pushLocked()}
}

// replace closes a connection that was claimed and found unfit, and claims another. It never waits,
// since its own slot is free.
func (pr *peer) replace(c *pooledConn, reason closeReason) (got claim) {
	pr.mu.Lock()
	c.closeLocked()
	pr.mu.Unlock()
	returned := false
	defer func() { // also if a user's connection does not return from Close
		pr.mu.Lock()
		defer pr.mu.Unlock()
		pr.counts.InUse--
		pr.counts.Open--
		pr.counts.closed(reason)
		if returned {
			got = pr.claimLocked()
		}
		if !returned || got.err != nil || got.conn != nil {
			pr.slotFreedLocked()
		}
	}()
	_ = c.raw.Close()
	returned = true
	return claim{}
}

// refuteLife forgets how long the address leaves connections idle.
func (pr *peer) refuteLife() {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	pr.life.refute()
}

// leaveIdleLocked counts n idle connections as in use.
func (pr *peer) leaveIdleLocked(n int) {
	pr.counts.Idle -= n
	pr.counts.InUse += n
	pr.pool.idle.Add(-int64(n))
}

// takeIdleLocked removes the first n idle connections, for the caller to close.
func (pr *peer) takeIdleLocked(n int) []*pooledConn {
	if n == 0 {
		return nil
	}
	taken := slices.Clone(pr.idle[:n])
	pr.idle = slices.Delete(pr.idle, 0, n)
	pr.leaveIdleLocked(n)
	for _, c := range taken {
		c.closeLocked()
	}
	return taken
}

// clean closes idle connections, and those in use when they are put back.
func (pr *peer) clean() {
	pr.mu.Lock()
	pr.epoch++
	idle := pr.takeIdleLocked(len(pr.idle))
	pr.mu.Unlock()
	pr.closeEach(idle, closedCleaned)
}

// close cleans the peer for good and fails its waiters.
func (pr *peer) close() {
	pr.mu.Lock()
	pr.state = peerClosed
	for pr.grantLocked(claim{err: pr.opError("wait for connection", ErrClosed)}) {
	}
	pr.mu.Unlock()
	pr.clean()
}
