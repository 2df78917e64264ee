package mux

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

// ageJitter is the part of MaxAge by which connections differ, so that those which were
// opened together are not replaced together.
const ageJitter = 0.1

// backoffJitter is the part of a pause after a failed dial by which clients differ.
const backoffJitter = 0.5

// jitter returns d, more or less by up to part of it.
func jitter(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 + part*(2*rand.Float64()-1)))
}

// roomLocked returns how many more connections may be opened.
func (s *Set) roomLocked() int {
	open := s.active + s.dialling
	switch s.peer {
	case peerShared:
		return s.config.MaxConns - open
	case peerPooled:
		return s.config.MaxPooledConns - open
	}
	// Nobody knows yet. A burst is not to open hundreds of connections to a peer that
	// needs a few: as many dials at a time as those.
	return min(s.config.MaxPooledConns-open, s.config.MaxConns-s.dialling)
}

// dialLocked starts a dial, if there is room and no pause. The connection takes the
// place of old if that is not nil; then there is room.
func (s *Set) dialLocked(old *clientConn) bool {
	if s.closed || old == nil && s.roomLocked() <= 0 {
		return false
	}
	if s.pause != nil || s.failures > 0 && s.dialling > 0 {
		return false // after a failure one tries for all
	}
	if !s.goroutines.start(func() { s.dial(old) }) {
		return false
	}
	s.dialling++
	s.publishLocked()
	return true
}

// endPause ends the pause after a failed dial.
func (s *Set) endPause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = nil
	s.publishLocked()
	s.serveLocked()
}

// grow opens another connection for calls that share one.
func (s *Set) grow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.canGrow.Load() { // one after the other: it may be all that is needed
		s.dialLocked(nil)
	}
}

// dial opens a connection, on a goroutine of its own.
func (s *Set) dial(old *clientConn) {
	ctx := s.ctx
	if s.config.DialTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.config.DialTimeout)
		defer cancel()
	}
	s.counters.dials.Add(1)
	nc, err := s.config.Dial(ctx)
	if err != nil {
		s.dialFailed(old, err)
		return
	}
	cc := newClientConn(s, nc)
	nc.SetOnDisconnect(func(context.Context, *conn.Conn) { cc.watchNow() })
	s.mu.Lock()
	s.dialling--
	closed := s.closed
	if !closed {
		s.addLocked(cc)
	}
	s.mu.Unlock()
	switch {
	case closed:
		cc.fail(ErrClosed)
	case old != nil:
		s.counters.aged.Add(1)
		s.drain(old)
	}
}

// addLocked takes a new connection in. One that has died already, of which forget knew
// nothing, is left out; one that its peer drains already gets no calls.
func (s *Set) addLocked(cc *clientConn) {
	s.failures, s.lastErr = 0, nil
	s.endDialLocked()
	list := *s.list.Load()
	if cc.deathCause() == nil {
		s.conns[cc] = struct{}{}
		if !cc.isDraining() {
			s.active++
			list = append(list[:len(list):len(list)], cc)
		}
	}
	s.setListLocked(list)
	s.serveLocked()
	s.planUpkeepLocked(watchPeriod)
}

// dialFailed begins the pause before the next dial. Calls that have nothing else to
// hope for fail.
func (s *Set) dialFailed(old *clientConn, err error) {
	s.counters.dialErrors.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialling--
	if old != nil {
		old.retiring = false
	}
	pause := s.config.BackoffMin << min(s.failures, 16)
	s.failures++
	if pause <= 0 || pause > s.config.BackoffMax {
		pause = s.config.BackoffMax
	}
	s.lastErr = err
	if s.pause == nil && !s.closed {
		s.pause = time.AfterFunc(jitter(pause, backoffJitter), s.endPause)
	}
	s.publishLocked()
	s.endDialLocked()
	if s.active == 0 && s.dialling == 0 {
		s.failWaitersLocked(err)
	}
	s.serveLocked() // who waited for something better than there is
}

// setListLocked replaces the list of connections that pick looks at.
func (s *Set) setListLocked(list []*clientConn) {
	s.list.Store(&list)
	s.publishLocked()
}

// publishLocked tells those who do not lock whether the set may grow.
func (s *Set) publishLocked() {
	more := !s.closed && s.peer == peerShared && s.pause == nil
	s.canGrow.Store(more && s.dialling == 0 && s.roomLocked() > 0)
	s.moreSoon.Store(more && (s.dialling > 0 || s.roomLocked() > 0))
}

// endDialLocked tells WarmUp that a dial has ended.
func (s *Set) endDialLocked() {
	if s.dialled != nil {
		close(s.dialled)
		s.dialled = nil
	}
}

// WarmUp opens connections until there are n, or as many as the limits allow, and
// returns when they are open, with the error of a dial that failed, or ctx's. What the peer
// can do is learnt from the first reply on each.
func (s *Set) WarmUp(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		for s.active+s.dialling < n && s.dialLocked(nil) {
			continue
		}
		ready, err := s.dialling == 0, s.lastErr
		if s.closed {
			ready, err = true, ErrClosed
		}
		if !ready && s.dialled == nil {
			s.dialled = make(chan struct{})
		}
		dialled := s.dialled
		s.mu.Unlock()
		if ready && err != nil {
			return &Error{Op: "warm up", Err: err}
		}
		if ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return &Error{Op: "warm up", Err: ctx.Err()}
		case <-dialled:
		}
	}
}
