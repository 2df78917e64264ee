package mux

import (
	"errors"
	"io"
	"os"
	"time"
)

// watchNow has the connection read by a goroutine of its own, unless a caller reads; it
// reports whether it is read so. It takes no lock of the Set's.
func (cc *clientConn) watchNow() bool {
	cc.mu.Lock()
	start := cc.cause == nil && cc.roles.watch()
	watched := cc.roles.watched
	cc.mu.Unlock()
	if !start || cc.set.goroutines.start(cc.watch) {
		return watched
	}
	cc.mu.Lock()
	next := cc.roles.unwatch()
	cc.mu.Unlock()
	cc.wakeUp(next)
	return false
}

// watch reads while no caller does, for what the peer says about the connection, and for
// its end. It gives the role up when a call has had its reply, since the next caller
// had better read itself, or when one waits.
func (cc *clientConn) watch() {
	before := cc.answered
	for {
		err := cc.readFrames()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			cc.setReadDeadline(time.Time{})
		case errors.Is(err, io.EOF) && cc.isEnding():
			cc.fail(errDrained)
		default:
			cc.fail(err)
		}
		cc.mu.Lock()
		if cc.cause == nil && cc.answered == before && cc.roles.waiting.last == nil {
			cc.mu.Unlock()
			continue
		}
		next := cc.roles.unwatch()
		cc.mu.Unlock()
		cc.wakeUp(next)
		cc.set.planUpkeep(watchPeriod)
		return
	}
}

// wakeUp wakes the call that has to read next, if any.
func (cc *clientConn) wakeUp(next *Call) {
	if next != nil {
		next.wake <- struct{}{}
	}
}
