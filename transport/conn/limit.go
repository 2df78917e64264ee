package conn

import (
	"sync"
	"sync/atomic"
	"time"
)

// limit arbitrates one deadline of a socket, for reading or for writing,
// between the three who want it: SetReadDeadline and its like, the timeout per
// wait, and the sweep, which makes a lingering goroutine look up.
//
// Setting a deadline costs a visit to the runtime's timers, so it is not done
// for every wait for data: an earlier deadline is left armed, and a wait that it
// ends too soon finds in expired that it may go on. A wait to write is rare, and
// ended too soon it breaks a TLS connection, so beginExact sets the deadline each
// time, and endExact removes it.
type limit struct {
	// atomic: deadline as UnixNano, 0 for none; changed with mu held. For those
	// who do not wait and still have to respect it.
	deadlineNano atomic.Int64

	mu sync.Mutex

	// guarded by mu
	deadline time.Time     // absolute; zero: none. At most one of deadline and timeout is set
	timeout  time.Duration // for each wait; zero: none
	armed    time.Time     // what the socket's deadline is set to; zero: none
	kick     bool          // armed is in the past because of wakeUp
}

// longPast returns a deadline that ends every wait.
func longPast() time.Time { return time.Unix(1, 0) }

// setDeadline makes t the deadline of the wait under way and of all later
// ones; the zero time removes it. It replaces the timeout.
func (l *limit) setDeadline(t time.Time, arm func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deadline, l.timeout = t, 0
	l.deadlineNano.Store(unixNano(t))
	if l.armed = t; l.kick {
		l.armed = longPast() // whom wakeUp is for may not have looked up yet
	}
	return arm(l.armed)
}

// setTimeout makes d the time that each later wait may take; zero or less
// removes it. It replaces the deadline.
func (l *limit) setTimeout(d time.Duration) {
	l.mu.Lock()
	l.deadline, l.timeout = time.Time{}, max(d, 0)
	l.deadlineNano.Store(0)
	l.mu.Unlock()
}

// isOver reports whether the deadline has passed; a timeout never has.
func (l *limit) isOver() bool {
	end := l.deadlineNano.Load()
	return end != 0 && time.Now().UnixNano() >= end
}

// unixNano is t.UnixNano with 0 for the zero time only.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(t.UnixNano(), 1)
}

// begin prepares a wait that starts now. It returns the time at which the wait
// has to end; zero for never.
func (l *limit) begin(arm func(time.Time) error) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.endLocked()
	if end.IsZero() || !l.armed.IsZero() && !l.armed.After(end) {
		return end, nil
	}
	l.armed = end
	return end, arm(end)
}

// endLocked returns when a wait that starts now has to end.
func (l *limit) endLocked() time.Time {
	if l.timeout > 0 {
		return time.Now().Add(l.timeout)
	}
	return l.deadline
}

// beginExact is begin, with the socket's deadline set to the wait's end.
func (l *limit) beginExact(arm func(time.Time) error) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.endLocked()
	if l.armed.Equal(end) {
		return end, nil
	}
	l.armed = end
	return end, arm(end)
}

// endExact ends what beginExact began: the socket keeps no deadline but the
// user's own.
func (l *limit) endExact(arm func(time.Time) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.armed.Equal(l.deadline) {
		l.armed = l.deadline
		_ = arm(l.deadline) // fails only if the socket is closed
	}
}

// expired is called when the socket's deadline ended a wait whose end begin
// returned. It reports whether time is up; otherwise the socket's deadline is
// set anew, and the wait may go on.
func (l *limit) expired(end time.Time, arm func(time.Time) error) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timeout == 0 {
		end = l.deadline
	}
	if !end.IsZero() && !time.Now().Before(end) {
		return true, nil
	}
	l.kick = false
	l.armed = end
	return false, arm(end)
}

// wakeUp ends the wait under way. A wait that is not for kicked to end goes on
// after a look at expired.
func (l *limit) wakeUp(arm func(time.Time) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kick = true
	l.armed = longPast()
	return arm(longPast())
}

// kicked is called when the socket's deadline ended a lingering wait, which has
// no limit of its own. It reports whether that was wakeUp's doing, and removes the deadline.
func (l *limit) kicked(arm func(time.Time) error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.kick
	l.kick = false
	l.armed = time.Time{}
	return arm(time.Time{}) != nil || was
}
