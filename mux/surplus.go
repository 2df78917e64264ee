package mux

// This file is shared connections beyond MaxConns: opened where the limits that the peer announces
// for one connection are met on all there are, and given up when fewer would do.

// connsAtLimits is how many times as many as MaxConns there may be then.
const connsAtLimits = 4

// mostSharedLocked returns how many shared connections there may be.
func (s *Set) mostSharedLocked() int {
	if s.waiters.Len() > 0 && s.areLimitsMetLocked() {
		return connsAtLimits * s.config.MaxConns
	}
	return s.config.MaxConns
}

// areLimitsMetLocked reports whether another connection is likely to help calls that wait: each of
// those there are is shared and takes no more, one at least since an announced limit is met. A
// limit of this side's is no reason, nor that a peer has refused calls: it may have done so for all
// its clients' sake.
func (s *Set) areLimitsMetLocked() bool {
	met := false
	for _, cc := range *s.list.Load() {
		switch {
		case mode(cc.mode.Load()) != modeShared:
			return false
		case cc.meetsLimits():
			met = true
		case cc.load.Load()+cc.late.Load() < cc.most.Load():
			return false
		}
	}
	return met
}

// meetsLimits reports whether what a shared connection's peer has announced leaves no room for
// another call.
func (cc *clientConn) meetsLimits() bool {
	cc.mu.Lock()
	calls, bytes := cc.calls.inFlight+cc.calls.late, cc.calls.lateBytes
	cc.mu.Unlock()
	return cc.limits.fewer && calls >= cc.limits.places || !cc.fitsPeer(bytes)
}

// unneededLocked returns how many of the first surplus connections of list, which are shared, may
// go: the rest has twice the room that all calls take.
func (s *Set) unneededLocked(list []*clientConn, surplus int) int {
	calls, bytes := s.waiters.Len(), int64(0)
	for _, cc := range list {
		cc.mu.Lock()
		calls += cc.calls.inFlight + cc.calls.late
		bytes += cc.held.Load() + cc.calls.lateBytes
		cc.mu.Unlock()
	}
	for ; surplus > 0; surplus-- {
		places, room, bounded := 0, int64(0), true
		for _, cc := range list[surplus:] {
			places += cc.limits.places
			room += cc.limits.bytes
			bounded = bounded && cc.limits.bytes > 0
		}
		if 2*calls <= places && (!bounded || 2*bytes <= room) {
			break
		}
	}
	return surplus
}
