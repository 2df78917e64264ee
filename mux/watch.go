package mux

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

// This file is who reads while no caller does: for what the peer says about the connection, for
// replies whose callers do not wait yet, and for the end. A poller, where there is one, reports
// what has come, and a worker reads it without waiting: an idle connection has neither a goroutine
// nor a buffer. Elsewhere a goroutine, the watcher, waits for bytes.

// listen has the poller, where there is one, report what comes. It is called before the connection
// is used.
func (cc *clientConn) listen() {
	told := func(context.Context, *conn.Conn) { cc.lookNow() }
	cc.polled = true // before it may be told
	if cc.conn.SetOnReadable(told) != nil {
		cc.polled = false
		told = func(context.Context, *conn.Conn) { cc.watchNow() }
	}
	cc.conn.SetOnDisconnect(told)
}

// watchNow has everything that comes from now on read as it comes, unless a caller reads. It
// reports whether it will be read. It does not take the Set's lock.
func (cc *clientConn) watchNow() bool {
	if cc.polled {
		return cc.conn.Watch() || cc.set.goroutines.start(cc.look)
	}
	cc.mu.Lock()
	start := cc.life.cause == nil && cc.roles.watch()
	watched := cc.roles.watched
	cc.mu.Unlock()
	if !start || cc.set.goroutines.start(cc.watch) {
		return watched
	}
	cc.unwatch()
	return false
}

// watch waits and reads while no caller does. It gives the role up when a call has had its reply,
// since the next caller had better read itself; when a caller waits; or when only the watcher keeps
// the connection from being handed over.
func (cc *clientConn) watch() {
	before := cc.reader.answered
	for !cc.isNextReaders(before) {
		err := cc.readFrames()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			cc.setReadDeadline(time.Time{})
			continue
		}
		cc.failRead(err)
	}
	cc.unwatch()
	cc.set.planUpkeep(watchPeriod)
}

// lookNow is look, called by one of the connection's callbacks.
func (cc *clientConn) lookNow() {
	if cc.set.goroutines.enter() {
		defer cc.set.goroutines.leave()
		cc.look()
	}
}

// look reads what has come, if nobody reads. Otherwise the reader looks once more before it leaves
// the connection unread: the poller reports only once.
func (cc *clientConn) look() {
	cc.mu.Lock()
	start := cc.life.cause == nil && cc.roles.report()
	cc.mu.Unlock()
	if start {
		cc.readArrived()
	}
}

// readArrived has the watcher's role, and reads what has come without waiting for more.
func (cc *clientConn) readArrived() {
	before := cc.reader.answered
	for more := true; more && !cc.isNextReaders(before); {
		more = cc.takeArrived()
	}
	cc.unwatch()
}

// takeArrived reads and handles what has come, without waiting for more, and reports whether
// something had. If reading fails, it ends the connection. Only the reader may call it.
func (cc *clientConn) takeArrived() bool {
	n, err := cc.conn.TakeArrived()
	switch {
	case n > 0:
		cc.setReadDeadline(longAgo())
		err = cc.readFrames()
		cc.setReadDeadline(time.Time{})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
	case errors.Is(err, io.EOF) && cc.conn.Reader().Len() > 0:
		err = io.ErrUnexpectedEOF
	}
	cc.failRead(err)
	return n > 0
}

// failRead ends the connection if reading it has failed.
func (cc *clientConn) failRead(err error) {
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) && cc.isEnding():
		cc.fail(errDrained)
	default:
		cc.fail(err)
	}
}

// isNextReaders reports whether another reader than the watcher is due, or none: a caller waits, or
// is likely to soon, where callers do not only glance; or there is nothing left to read or to wait
// for. before is cc.reader.answered when the watcher began.
func (cc *clientConn) isNextReaders(before uint64) bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	leads := cc.reader.answered != before || cc.roles.waiting.last != nil
	return cc.life.cause != nil || leads && !cc.roles.glances || cc.isWatchedInVainLocked()
}

// unwatch gives the watcher's role up.
func (cc *clientConn) unwatch() {
	cc.mu.Lock()
	next, do := cc.roles.unwatch()
	cc.mu.Unlock()
	cc.handOn(next, do)
	cc.handOverIfSpare()
}

// handOn passes the role on as roles has decided: it wakes next to read, has a goroutine look at
// what the poller has reported, or has the poller watch.
func (cc *clientConn) handOn(next *Call, do errand) {
	switch {
	case next != nil:
		next.wake <- struct{}{}
	case do == errandWatch:
		cc.watchNow()
	case do == errandLook && !cc.set.goroutines.start(cc.readArrived):
		cc.unwatch() // the set is closed, and so is the connection soon
	}
}
