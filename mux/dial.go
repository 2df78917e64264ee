package mux

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/transport/conn"
)

// ageJitter is the part of MaxAge by which connections differ, so that connections opened together
// are not replaced together.
const ageJitter = 0.1

// jitter returns d, varied by up to part of it.
func jitter(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 + part*(2*rand.Float64()-1)))
}

// more returns d plus up to part of it.
func more(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 + part*rand.Float64()))
}

// roomLocked returns how many more connections may be opened.
func (s *Set) roomLocked() int {
	open, unshared := s.members.open()+s.dials.running, s.members.unshared+len(s.members.apart)
	switch {
	case s.hellos.peer == peerUnshared:
		return s.config.MaxUnshared - open
	case s.hellos.peer == peerUnknown || s.hellos.doublings > 0:
		// A burst must not open hundreds of connections to a peer that needs a few. So only a few
		// are new at one time, until hellos have failed to come.
		return min(s.config.MaxUnshared-open, s.mostNewLocked()-s.dials.running-s.probingLocked())
	case unshared >= s.config.MaxUnshared:
		return 0 // one more may turn out to be unshared too
	}
	return s.mostSharedLocked() - (open - unshared - s.members.doubted)
}

// dials are the dials of a Set that are under way.
type dials struct {
	running int
	ctx     context.Context    // theirs; nil without any
	cancel  context.CancelFunc // cancels ctx
	alone   chan struct{}      // closed once no connection works; made for a trial, nil once closed
	ended   chan struct{}      // non-nil while WarmUp waits for a dial or a pause to end
}

// dialing is a dial under way.
type dialing struct {
	ctx   context.Context
	old   *clientConn // the connection to replace; nil: none
	spare bool        // another connection worked when the dial began
}

// dialLocked starts a dial, if there is room and no pause. If old is not nil, the new connection
// takes its place, and there is always room.
func (s *Set) dialLocked(old *clientConn) bool {
	if !s.mayDialLocked(old) {
		return false
	}
	if s.dials.running == 0 {
		s.dials.ctx, s.dials.cancel = context.WithCancel(context.Background())
	}
	s.dials.running++
	d := &dialing{ctx: s.dials.ctx, old: old, spare: s.members.work()}
	if !s.goroutines.start(func() { s.dial(d) }) {
		s.dialDoneLocked()
		return false
	}
	s.publishLocked()
	return true
}

// mayDialLocked reports whether dialLocked would start a dial, given what is there.
func (s *Set) mayDialLocked(old *clientConn) bool {
	switch {
	case s.closed || old == nil && s.roomLocked() <= 0:
		return false
	case s.backoff.pause != nil || s.backoff.failures > 0 && s.dials.running > 0:
		return false // after a failure, one dial tries for all
	}
	return true
}

// grow opens another connection for calls that share one.
func (s *Set) grow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.canGrow.Load() { // one at a time: it may be all that is needed
		s.dialLocked(nil)
	}
}

// dial opens a connection, on a goroutine of its own.
func (s *Set) dial(d *dialing) {
	ctx := d.ctx
	if s.config.DialTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.config.DialTimeout)
		defer cancel()
	}
	s.counters.dials.Add(1)
	var nc *conn.Conn
	var err error
	began := time.Now()
	callback.Run(
		func() { nc, err = s.config.Dial(ctx) },
		func(failure *callback.Failure) {
			if failure != nil {
				err = cause.OfPanic(failure)
			}
			if err != nil {
				s.dialFailed(d.old, err)
				return
			}
			s.dialEnded(d, newClientConn(s, nc, time.Since(began)))
		})
}

// dialEnded adds a dialed connection to the set. If another connection worked when the dial began,
// the new one is watched first: the peer may have closed it, and calls have time.
func (s *Set) dialEnded(d *dialing, cc *clientConn) {
	old := d.old
	cc.listen()
	if d.spare {
		took, alone := s.trial(cc)
		cc.outlives(d.ctx, alone, took)
	}
	s.mu.Lock()
	s.dialDoneLocked()
	closed := s.closed
	if !closed {
		if old != nil {
			cc.upkeep.idleSince = old.upkeep.idleSince // it had no call either
		}
		s.addLocked(cc)
	}
	_, replaces := s.members.conns[cc]
	if old != nil {
		old.standing.retiring = replaces
	}
	s.mu.Unlock()
	switch {
	case closed:
		cc.fail(ErrClosed)
	case old != nil && replaces:
		s.counters.aged.Add(1)
		s.drain(old)
	}
}

// trial returns how long a new connection is watched before it gets calls: about as long as a hello
// may take, and longest at a peer that has closed a connection. The trial ends early when alone is
// closed: no other connection works then, and calls have nothing else.
func (s *Set) trial(cc *clientConn) (d time.Duration, alone <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dials.alone == nil {
		s.dials.alone = make(chan struct{})
	}
	alone = s.dials.alone
	s.spareLocked()
	if s.backoff.closings > 0 {
		return maxGrace, alone
	}
	return cc.grace, alone
}

// outlives waits until d has passed, the connection has died, alone is closed or ctx is done. A
// call sent on a connection that the peer has closed fails, and may not be safe to retry.
func (cc *clientConn) outlives(ctx context.Context, alone <-chan struct{}, d time.Duration) {
	cc.mu.Lock()
	died := make(chan struct{})
	cc.life.died = died
	dead := cc.life.cause != nil
	cc.mu.Unlock()
	if dead || !cc.watchNow() {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-died:
	case <-alone:
	case <-ctx.Done():
	}
}

// dialDoneLocked counts a dial that has ended. The last one ends the dials' common context: an idle
// set has none.
func (s *Set) dialDoneLocked() {
	s.dials.running--
	if s.dials.running == 0 {
		s.dials.cancel()
		s.dials.ctx, s.dials.cancel = nil, nil
	}
}

// addLocked adds a new connection. It leaves out a connection that has already died, of which
// forget knew nothing. A connection that its peer already drains gets no calls.
func (s *Set) addLocked(cc *clientConn) {
	s.backoff.lastErr = nil
	s.endDialLocked()
	cc.standing.closingsAt = s.backoff.closings
	list := *s.list.Load()
	cause := cc.deathCause()
	if cause == nil {
		s.members.conns[cc] = struct{}{}
		if !cc.isDraining() {
			s.members.active++
			list = append(list[:len(list):len(list)], cc)
		}
	}
	s.setListLocked(list)
	s.countLocked(cc)
	switch {
	case cause != nil && !isOwnEnd(cause):
		s.cutShortLocked(cc, cause)
	case s.backoff.closings > 0: // it may end as the last one did; if a reply comes, the pause ends
		s.pauseLocked(doubled(s.config.BackoffMin, s.backoff.closings, s.config.BackoffMaxClosed))
	case s.backoff.failures > 0:
		s.pauseLocked(doubled(s.config.BackoffMin, s.backoff.failures, s.config.BackoffMax))
	}
	s.serveLocked()
	s.planUpkeepLocked(watchPeriod)
}

// dialFailed begins the pause before the next dial. Calls with no other hope fail.
func (s *Set) dialFailed(old *clientConn, err error) {
	s.counters.dialErrors.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialDoneLocked()
	if old != nil {
		old.standing.retiring = false
	}
	s.failedLocked(err)
	s.serveLocked() // for calls that waited for a better connection than there is
}

// setListLocked replaces the list of connections that pick looks at.
func (s *Set) setListLocked(list []*clientConn) {
	s.list.Store(&list)
	s.publishLocked()
}

// publishLocked publishes whether the set may grow, for code that does not take the lock.
func (s *Set) publishLocked() {
	s.trusting.Store(s.hellos.peer != peerUnshared)
	more := !s.closed && s.hellos.peer == peerShared && s.backoff.pause == nil
	s.canGrow.Store(more && s.dials.running == 0 && s.roomLocked() > 0)
	s.moreSoon.Store(more && (s.dials.running > 0 || s.roomLocked() > 0))
}
