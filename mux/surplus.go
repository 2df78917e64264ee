package mux

// This file is shared connections beyond MaxConns. The set opens them where all connections are at
// the limits that the peer announces for one, and gives them up when fewer suffice.

// connsAtLimits is how many times MaxConns connections there may be then.
const connsAtLimits = 4

// mostSharedLocked returns how many shared connections there may be.
func (s *Set) mostSharedLocked() int {
	if s.queue.waiters.Len() > 0 && s.areLimitsMetLocked() {
		return connsAtLimits * s.config.MaxConns
	}
	return s.config.MaxConns
}

// areLimitsMetLocked reports whether another connection is likely to help waiting calls: each
// connection is shared and takes no more calls, and at least one of them because it has met an
// announced limit. A limit of this side's is no reason, and neither is a refusal by the peer, which
// may protect all its clients.
func (s *Set) areLimitsMetLocked() bool {
	met := false
	for _, cc := range *s.list.Load() {
		switch {
		case mode(cc.mode.Load()) != modeShared:
			return false
		case cc.meetsLimits():
			met = true
		case cc.places.taken() < cc.places.most.Load():
			return false
		}
	}
	return met
}

// meetsLimits reports whether the limits that a shared connection's peer has announced leave no
// room for another call.
func (cc *clientConn) meetsLimits() bool {
	cc.mu.Lock()
	calls, bytes := cc.places.calls.inFlight+cc.places.calls.late, cc.places.calls.lateBytes
	cc.mu.Unlock()
	return cc.limits.fewer && calls >= cc.limits.places || !cc.fitsPeer(bytes)
}

// unneededLocked returns how many of the first surplus connections of list, which are shared, may
// go, so that the rest has at least twice the room that all calls take.
func (s *Set) unneededLocked(list []*clientConn, surplus int) int {
	calls, bytes := s.queue.waiters.Len(), int64(0)
	for _, cc := range list {
		cc.mu.Lock()
		calls += cc.places.takenLocked()
		bytes += cc.requests.held.Load() + cc.places.calls.lateBytes
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
