package mux

import (
	"errors"

	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/mux/internal/frame"
)

// This file is what a shared connection's peer says about requests that it does not answer: that it
// refuses them, or has no reply to a cancelled call; and that it has room again.

// Why a peer has refused a call.
var (
	errNoRoom = cause.New("mux: refused by the peer, which has no room", ErrRefused)
	errGoing  = cause.New("mux: refused by the peer, which is going away", ErrRefused)

	// errUnanswered is the error of a call that the peer takes for cancelled, and may have run.
	errUnanswered = errors.New("mux: the peer sends no reply")
)

// refusal returns the error of a call that the peer refuses for reason. c is nil if its caller has
// gone.
func (cc *clientConn) refusal(c *Call, reason frame.Reason) error {
	switch reason {
	case frame.ReasonNoRoom:
		return errNoRoom
	case frame.ReasonGoing:
		return errGoing
	case frame.ReasonOverdue:
		return ErrOverdue
	case frame.ReasonCancelled:
		return errUnanswered
	case frame.ReasonTooLarge:
		bad := &FrameError{Reason: "too large for the peer"}
		if c != nil && c.size > cc.limits.frame {
			bad.Bytes, bad.Limit = c.size, cc.limits.frame
		}
		return bad
	}
	return ErrRefused // whatever it is, the call was not begun
}

// isForLater reports whether the reason also holds for requests that come soon.
func isForLater(reason frame.Reason) bool {
	return reason == frame.ReasonNoRoom || reason == frame.ReasonGoing
}

// hearRefused handles what the peer says about requests that it does not answer. Only the reader
// calls it.
func (cc *clientConn) hearRefused(m frame.Message) {
	if mode(cc.mode.Load()) != modeShared {
		return
	}
	cc.noteReply()
	for id := range m.SeqIDs {
		cc.endCall(id, ending{reason: m.Reason})
	}
}

// hearRoom is called when the peer says that it has room again. Only the reader calls it.
func (cc *clientConn) hearRoom() {
	cc.mu.Lock()
	cc.places.throttle.roomy()
	cc.set.goroutines.stop(cc.places.rest)
	cc.places.rest = nil
	cc.openLocked()
	cc.mu.Unlock()
	cc.set.serveWaiters()
}

// openLocked publishes how many calls the connection may have.
func (cc *clientConn) openLocked() {
	cc.places.most.Store(int32(cc.places.throttle.limit(cc.mostPlaces())))
}

// planRestLocked has the connection try more calls after a pause, if a throttle keeps it below what
// its peer has announced.
func (cc *clientConn) planRestLocked() {
	if cc.places.rest == nil && cc.places.throttle.window > 0 && cc.life.cause == nil && !cc.life.draining {
		cc.places.rest = cc.set.goroutines.after(cc.places.throttle.nextPause(), cc.endRest)
	}
}

// endRest is called when that pause is over.
func (cc *clientConn) endRest() {
	cc.mu.Lock()
	cc.places.rest = nil
	cc.places.throttle.rested()
	cc.openLocked()
	cc.mu.Unlock()
	cc.set.serveWaiters()
}

// planRestsLocked has connections that refused calls tried again while calls wait.
func (s *Set) planRestsLocked() {
	for _, cc := range *s.list.Load() {
		cc.mu.Lock()
		cc.planRestLocked()
		cc.mu.Unlock()
	}
}

// refusedInTime is the error of a call that was refused, and whose time was over before it had
// another place.
type refusedInTime struct{ refused, over error }

func (e *refusedInTime) Error() string {
	return e.refused.Error() + ", and there was no room until its time was over"
}

func (e *refusedInTime) Unwrap() []error { return []error{e.refused, e.over} }

// Again gives a call whose Receive has failed with ErrRefused another place, on any of the set's
// connections. It waits for that as Set.Begin does. The caller must then encode the request again,
// into an empty Request and with the new SeqID, and calls Send and Receive as before. With FailFast
// Again fails with ErrRefused; on any other call it fails with a *FrameError. After an error, which
// is an *Error, the call can only be ended.
func (c *Call) Again() error {
	refused := c.refused
	s, last := c.conn.set, c.conn
	switch {
	case refused == nil || !errors.Is(refused, ErrRefused):
		return c.fail("begin", &FrameError{Reason: "no call that was refused"})
	case s.config.Overload == FailFast:
		return c.failRefused()
	}
	*c = Call{wake: c.wake, timer: c.timer, ctx: c.ctx, deadline: c.deadline}
	err := c.over()
	if err == nil && !s.beginFast(c) {
		err = s.beginSlow(c, nil, false)
	}
	if err == nil {
		last.release()
		return nil
	}
	c.conn, c.left = last, true
	e := &Error{Op: "begin", Err: err, Addr: last.conn.RemoteAddr()}
	if e.Timeout() && c.isOver() {
		e.Err = &refusedInTime{refused, err}
	}
	return e
}

// failRefused returns the error of a call that the peer has ended without a reply.
func (c *Call) failRefused() error {
	e := &Error{Op: "receive", Err: c.refused, Addr: c.conn.conn.RemoteAddr()}
	var bad *FrameError
	e.sent = errors.Is(c.refused, errUnanswered) || errors.As(c.refused, &bad) && bad.Received
	return e
}
