package mux

import "time"

// life is how a connection ends. It goes from one state to the next, and may skip some:
//   - it takes calls;
//   - it is draining, and takes no new ones;
//   - it is ending, since its last call is over;
//   - it is half-closed, since this side has written everything;
//   - it is dead, or was handed over (giveUp).
//
// The connection's mu guards it.
type life struct {
	draining   bool          // takes no new calls; ends when the last one is over
	ending     bool          // the last call is over: finish was, or is about to be, called
	halfClosed bool          // everything was written, and this side says so, or is about to
	linger     *time.Timer   // of the set's group: limits finish's wait; nil until ending
	cause      error         // why it is dead, or errUnshared once it was handed over; nil until then
	died       chan struct{} // closed at death; nil unless its dial waits for that
}

// takesCalls reports whether calls may begin.
func (l *life) takesCalls() bool { return !l.draining && l.cause == nil }

// drain has the connection take no more calls. It reports whether it took some until now.
func (l *life) drain() bool {
	first := l.takesCalls()
	l.draining = l.draining || first
	return first
}

// end is called when no call is in flight. It reports whether that was the last one of a draining
// connection, which the caller must finish.
func (l *life) end() bool {
	ends := l.draining && !l.ending && l.cause == nil
	l.ending = l.ending || ends
	return ends
}

// die records why the connection is dead. It reports whether it was alive.
func (l *life) die(cause error) bool {
	if l.cause != nil {
		return false
	}
	l.cause = cause
	if l.died != nil {
		close(l.died)
	}
	return true
}
