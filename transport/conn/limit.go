package conn

import (
	"sync"
	"sync/atomic"
	"time"
)

// limit shares one deadline of a socket, for reading or for writing, among three that need it: the
// user's deadline, the timeout of each wait, and the sweep, which interrupts a lingering goroutine.
// A wait ends at the deadline if there is one, otherwise when the timeout has passed. Both are
// kept, so that removing the deadline brings the timeout back. The sweep's interruption is kept
// apart from both.
//
// Setting a socket's deadline costs a visit to the runtime's timers, so not every wait for data
// does it: an earlier deadline stays armed, and a wait that it ends too soon learns from expired
// that it may go on. A wait to write is rare, and ending it too soon breaks a TLS connection, so
// beginExact sets the deadline each time, and endExact removes it.
//
// One wait at a time uses a limit; setDeadline, setTimeout and wakeUp may come at any time.
type limit struct {
	// immutable after init
	clock clock
	sock  deadlineSetter

	// atomic: an instant, unset for no deadline; changed with mu held
	deadline atomic.Int64

	mu sync.Mutex

	// guarded by mu
	timeout time.Duration // for each wait; zero: none
	timeUp  instant       // when the timeout of the wait under way, or of the last one, passes
	armed   instant       // what the socket's deadline is set to
	kick    bool          // armed is past because of wakeUp

	way direction // immutable after init; here it needs no padding
}

// deadlineSetter is the part of a socket that a limit uses.
type deadlineSetter interface {
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// direction says which of a socket's two deadlines a limit is about.
type direction bool

const (
	reading direction = false
	writing direction = true
)

// init prepares a limit without a deadline and without a timeout.
func (l *limit) init(c clock, sock deadlineSetter, way direction) {
	l.clock, l.sock, l.way = c, sock, way
	l.timeUp, l.armed = never, never
}

// armLocked sets the socket's deadline to at, or to one that has passed while the goroutine that
// wakeUp interrupts has not noticed yet.
func (l *limit) armLocked(at instant) error {
	if l.kick {
		at = past
	}
	l.armed = at
	if l.way == writing {
		return l.sock.SetWriteDeadline(l.clock.time(at))
	}
	return l.sock.SetReadDeadline(l.clock.time(at))
}

// setDeadline makes t the deadline of the wait under way and of all later ones. The zero time
// removes it: the timeout holds again, also for the wait under way.
func (l *limit) setDeadline(t time.Time) error {
	at := unset
	if !t.IsZero() {
		at = l.clock.at(t)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline.Store(int64(at))
	return l.armLocked(l.endLocked())
}

// hasDeadline reports whether a deadline is set.
func (l *limit) hasDeadline() bool { return instant(l.deadline.Load()) != unset }

// setTimeout makes d the time that each later wait may take unless a deadline is set; zero or
// less removes it.
func (l *limit) setTimeout(d time.Duration) {
	l.mu.Lock()
	l.timeout = max(d, 0)
	l.mu.Unlock()
}

// isOver reports whether the deadline has passed. It ignores the timeout.
func (l *limit) isOver() bool {
	deadline := instant(l.deadline.Load())
	return deadline != unset && l.clock.now() >= deadline
}

// endLocked returns when the wait under way must end.
func (l *limit) endLocked() instant {
	if deadline := instant(l.deadline.Load()); deadline != unset {
		return deadline
	}
	return l.timeUp
}

// beginLocked notes that a wait starts now, and returns when it must end.
func (l *limit) beginLocked() instant {
	l.timeUp = never
	if l.timeout > 0 {
		l.timeUp = l.clock.now().after(l.timeout)
	}
	return l.endLocked()
}

// begin prepares a wait that starts now.
func (l *limit) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.beginLocked()
	if l.armed <= end {
		return nil
	}
	return l.armLocked(end)
}

// beginExact is begin, with the socket's deadline set to the wait's end.
func (l *limit) beginExact() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.beginLocked()
	if l.armed == end {
		return nil
	}
	return l.armLocked(end)
}

// endExact ends what beginExact began: the socket keeps no deadline except the user's own.
func (l *limit) endExact() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timeUp = never
	if end := l.endLocked(); l.armed != end {
		_ = l.armLocked(end) // fails only if the socket is closed
	}
}

// expired is called when the socket's deadline ended a wait. It reports whether the wait's time
// is up; otherwise the socket's deadline is set anew, and the wait may go on.
func (l *limit) expired() (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.endLocked()
	if l.clock.now() >= end {
		return true, nil
	}
	l.kick = false
	return false, l.armLocked(end)
}

// beginLook prepares a lingering wait that takes d at most.
func (l *limit) beginLook(d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.armLocked(l.clock.now().after(d))
}

// wakeUp ends the wait under way. Any wait except a lingering one checks expired and goes on.
func (l *limit) wakeUp() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kick = true
	return l.armLocked(never)
}

// kicked is called when the socket's deadline ended a lingering wait, which has no limit of its
// own. It reports whether wakeUp caused that, and removes the deadline.
func (l *limit) kicked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.kick
	l.kick = false
	return l.armLocked(never) != nil || was
}
