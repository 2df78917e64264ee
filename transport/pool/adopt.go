package pool

import (
	"maps"
	"net"
	"slices"
)

// This file is about a Pool that opens no connections and does not limit their number: a Mux
// gives them to it. The calls in its queue would take a connection as soon as one is given back,
// and may get a place elsewhere meanwhile.

// adopt takes a connection to addr as if it were put back, or closes it if isWanted returns false.
// A Clean that begins after the call of isWanted also closes the connection.
func (p *Pool) adopt(addr netAddr, raw net.Conn, isWanted func() bool) {
	for {
		pr, err := p.peer(addr)
		if err != nil {
			_ = raw.Close() // the pool is closed
			return
		}
		epoch := pr.currentEpoch()
		if !isWanted() {
			pr.unneeded()
			_ = raw.Close()
			return
		}
		if c := pr.adopt(raw, epoch); c != nil {
			_ = pr.put(c.current())
			return
		}
	}
}

// currentEpoch returns the epoch.
func (pr *peer) currentEpoch() uint64 {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.epoch
}

// unneeded has the peer, which may be new, forgotten if it stays empty.
func (pr *peer) unneeded() {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.isEmptyLocked() {
		pr.emptiedLocked()
	}
}

// adopt takes raw as a connection in use, dialed in that epoch. It returns nil if the peer is
// forgotten.
func (pr *peer) adopt(raw net.Conn, epoch uint64) *pooledConn {
	c := newPooledConn(pr, raw, epoch)
	pr.mu.Lock()
	forgotten := pr.state == peerForgotten
	if !forgotten {
		pr.counts.Dials++
		pr.counts.Open++
		pr.counts.InUse++
		pr.open[c] = struct{}{}
	}
	pr.mu.Unlock()
	if forgotten {
		return nil
	}
	c.watch()
	return c
}

// lookup returns the peer for addr; nil if there is none.
func (p *Pool) lookup(addr netAddr) *peer {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.peers[addr]
}

// claim takes the idle connection used last, else a place in the queue.
func (pr *peer) claim() claim {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	return pr.claimLocked()
}

// queue takes a place in the queue even if a connection is idle.
func (pr *peer) queue() claim {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if err := pr.refusalLocked(); err != nil {
		return claim{err: err}
	}
	return pr.queueLocked()
}

// use hands out the connection that was claimed if it is fit for use. Otherwise it closes the
// connection and returns nil. The error is the claim's.
func (pr *peer) use(got claim) (net.Conn, error) {
	if got.err != nil {
		return nil, got.err
	}
	pr.mu.Lock()
	life := pr.life
	pr.mu.Unlock()
	if reason := pr.judge(got.conn, life); reason != notClosed {
		_ = pr.discardAs(got.conn.current(), reason)
		return nil, nil
	}
	return pr.reuse(got.conn), nil
}

// leaveQueue ends a wait and returns what w got.
func (pr *peer) leaveQueue(w *waiter) claim {
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if w.isGranted {
		return w.got
	}
	pr.waiters.removeLocked(w)
	pr.counts.Waiting--
	if pr.isEmptyLocked() {
		pr.emptiedLocked()
	}
	return claim{}
}

// cut closes the connections that are in use: their calls fail.
func (p *Pool) cut() {
	for _, pr := range p.list() {
		pr.mu.Lock()
		open := slices.Collect(maps.Keys(pr.open))
		pr.mu.Unlock()
		for _, c := range open {
			_ = c.raw.Close() // Put closes it again, which does nothing
		}
	}
}
