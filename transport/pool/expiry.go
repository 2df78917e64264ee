package pool

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// instant is a point in time: how long after the pool was made.
type instant = time.Duration

// forever is an instant, or a duration, that is never reached.
const forever time.Duration = math.MaxInt64

// later returns the instant d after now.
func later(now instant, d time.Duration) instant {
	if d > forever-now {
		return forever
	}
	return now + d
}

// now returns the time on the pool's clock.
func (p *Pool) now() instant { return time.Since(p.start) }

// ageEnd returns when a connection dialed now is over age.
func (p *Pool) ageEnd() instant {
	age := p.config.MaxAge
	if age == forever {
		return forever
	}
	if tenth := age / 10; tenth > 0 {
		age += rand.N(2*tenth+1) - tenth
	}
	return later(p.now(), age)
}

// expiryTimer is a pool's only timer. It is set while something can expire, for a little after the
// first of it does, so that what expires soon after is closed with it.
type expiryTimer struct {
	// immutable after start
	expire func()
	slack  time.Duration // how little after

	// atomic: the instant at which the timer fires; forever: it is not set. Changed with mu held.
	at atomic.Int64

	mu      sync.Mutex  // taken last; nothing is called with it held
	timer   *time.Timer // guarded by mu; nil before it is first needed
	stopped bool        // guarded by mu
}

// expirySlack is the divisor of a timeout that gives its slack.
const expirySlack = 20

// start makes the timer call expire. shortest is the shortest time after which something expires.
func (e *expiryTimer) start(shortest time.Duration, expire func()) {
	e.expire = expire
	e.slack = shortest / expirySlack
	e.at.Store(int64(forever))
}

// schedule has expire called soon after due, or earlier if that is scheduled. It does not block.
func (e *expiryTimer) schedule(due, now instant) {
	if due == forever {
		return
	}
	at := later(due, e.slack)
	if int64(at) >= e.at.Load() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped || int64(at) >= e.at.Load() {
		return
	}
	e.at.Store(int64(at))
	if e.timer == nil {
		e.timer = time.AfterFunc(at-now, e.fire)
		return
	}
	e.timer.Reset(at - now)
}

// fire runs on the timer's goroutine. What becomes idle from now on sets the
// timer again.
func (e *expiryTimer) fire() {
	e.mu.Lock()
	e.at.Store(int64(forever))
	stopped := e.stopped
	e.mu.Unlock()
	if !stopped {
		e.expire()
	}
}

// stop ends the timer for good. An expire that is running goes on.
func (e *expiryTimer) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	if e.timer != nil {
		e.timer.Stop()
	}
}

// expire closes connections that have expired, forgets addresses without any, and sets the timer
// for the rest.
func (p *Pool) expire() {
	peers := p.list()
	now := p.now()
	next := forever
	for _, pr := range peers {
		due, empty := pr.expire(now)
		if empty && due <= now {
			p.forget(pr)
			continue
		}
		next = min(next, due)
	}
	p.expiry.schedule(next, now)
}

// expire closes the idle connections that have expired. It returns when the next one expires or, if
// the peer is empty, when the peer may be forgotten.
func (pr *peer) expire(now instant) (due instant, empty bool) {
	pr.mu.Lock()
	n := 0
	for len(pr.idle)-n > pr.pool.config.MinIdlePerAddress && pr.idle[n].idleEnd <= now {
		n++
	}
	expired := pr.takeIdleLocked(n)
	aged := pr.takeAgedLocked(now)
	due, empty = pr.dueLocked()
	pr.mu.Unlock()
	pr.closeEach(expired, closedExpired)
	pr.closeEach(aged, closedAge)
	return due, empty
}

// takeAgedLocked removes the idle connections that are over age, for the caller to close.
func (pr *peer) takeAgedLocked(now instant) []*pooledConn {
	var aged []*pooledConn
	pr.idle = slices.DeleteFunc(pr.idle, func(c *pooledConn) bool {
		if now < c.ageEnd {
			return false
		}
		c.closeLocked()
		aged = append(aged, c)
		return true
	})
	pr.leaveIdleLocked(len(aged))
	return aged
}

// dueLocked returns when expire must next look at the peer, and whether the peer is empty.
func (pr *peer) dueLocked() (due instant, empty bool) {
	if pr.isEmptyLocked() {
		return later(pr.emptySince, pr.pool.config.forgetAfter()), true
	}
	due = forever
	if len(pr.idle) > pr.pool.config.MinIdlePerAddress {
		due = pr.idle[0].idleEnd
	}
	for _, c := range pr.idle {
		due = min(due, c.ageEnd)
	}
	return due, false
}

// isEmptyLocked reports whether the peer has neither connections nor waiters.
func (pr *peer) isEmptyLocked() bool { return pr.counts.Open == 0 && pr.waiters.head == nil }

// forget drops a peer that is empty and keeps its counts.
func (p *Pool) forget(pr *peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.state != peerServing || !pr.isEmptyLocked() {
		return
	}
	pr.state = peerForgotten
	delete(p.peers, pr.addr)
	counts := pr.countsLocked()
	p.forgotten.add(&counts)
	p.shrinkLocked()
}

// shrinkLocked gives back the memory of a map that had many more peers than are left.
func (p *Pool) shrinkLocked() {
	if p.mostPeers < 64 || len(p.peers) > p.mostPeers/4 {
		return
	}
	p.mostPeers = len(p.peers)
	peers := make(map[netAddr]*peer, len(p.peers))
	maps.Copy(peers, p.peers)
	p.peers = peers
}
