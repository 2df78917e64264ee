package mux

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

const (
	// partBytes is how much of a reply longer than frame.CopyBytes the reader waits for at a time,
	// so that others see that the reply comes, and how much is still to come.
	partBytes = 256 << 10
)

// await returns nil when c has ended on the connection, answered or failed, and otherwise why its
// caller must leave before that.
func (cc *clientConn) await(c *Call) error {
	glances := cc.prefersGlances()
	cc.mu.Lock()
	state, recall := cc.roles.arrive(c, glances)
	cc.mu.Unlock()
	if recall {
		cc.kick()
	}
	for {
		var over error
		switch state {
		case callWaiting:
			state, over = cc.follow(c)
		case callLeading:
			state, over = cc.lead(c)
		default:
			return nil
		}
		if over != nil {
			return over
		}
	}
}

// stateOf returns the state of c.
func (cc *clientConn) stateOf(c *Call) callState {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return c.state
}

// follow parks the caller of c until it is woken, and returns the call's state then, or why its
// caller must leave.
func (cc *clientConn) follow(c *Call) (callState, error) {
	over := c.park()
	if over == nil {
		c.awake()
	} else {
		over = cc.expire(c, over)
	}
	return cc.stateOf(c), over
}

// expire decides about a parked caller whose time is over. If another goroutine is waking the
// caller at that moment, expire takes the wake-up, since c may be used again.
func (cc *clientConn) expire(c *Call, over error) error {
	cc.mu.Lock()
	state := c.state
	if state == callWaiting {
		cc.roles.unpark(c)
	}
	cc.mu.Unlock()
	if state == callWaiting {
		return over
	}
	<-c.wake
	c.awake()
	if state == callLeading {
		return over
	}
	return nil
}

// lead reads for all callers until c has ended, or waits for another reader, and returns its state,
// or until c's caller must leave, and returns why. leave passes the role on.
func (cc *clientConn) lead(c *Call) (callState, error) {
	if !cc.prefersGlances() && cc.limitRead(c.deadline) {
		cc.allowRecall()
	}
	if cc.prefersGlances() { // looked at after the deadline was set
		return cc.glance(c), nil
	}
	if c.ctx.Done() != nil {
		stop := context.AfterFunc(c.ctx, cc.kickFunc)
		defer stop()
	}
	for {
		err := cc.readFrames()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The deadline may be another caller's, a recall, or a kick for a caller that has gone.
			// The checks follow, since setting the deadline may undo a kick.
			cc.setReadDeadline(c.deadline)
			cc.allowRecall()
			if over := c.over(); over != nil {
				return callLeading, over
			}
			if cc.prefersGlances() {
				return cc.glance(c), nil
			}
		default:
			cc.fail(err)
		}
		if state := cc.stateOf(c); state.isFinal() {
			return state, nil
		}
	}
}

// limitRead makes sure that the reader looks up by deadline; zero means never. It leaves an earlier
// deadline as it is: a reader that wakes too soon then sets its own. So calls with the same timeout
// set a deadline now and then, not each time. It reports whether it has set one.
func (cc *clientConn) limitRead(deadline time.Time) bool {
	if deadline.IsZero() || !cc.reader.deadline.IsZero() && !cc.reader.deadline.After(deadline) {
		return false
	}
	cc.setReadDeadline(deadline)
	return true
}

func (cc *clientConn) setReadDeadline(t time.Time) {
	cc.reader.deadline = t
	_ = cc.conn.SetReadDeadline(t) // fails on a closed connection, as the read will
}

// longAgo returns a read deadline that has passed.
func longAgo() time.Time { return time.Unix(1, 0) }

// kick has the reader look up. It may come late and reach another reader, which reads on. It leaves
// a connection that was handed over alone.
func (cc *clientConn) kick() {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if cc.life.cause == nil {
		// This fails on a closed connection, whose reader has looked up.
		_ = cc.conn.SetReadDeadline(longAgo())
	}
}

// kickReader kicks the reader, if there is one.
func (cc *clientConn) kickReader() {
	cc.mu.Lock()
	read := cc.roles.leader != nil || cc.roles.watched
	cc.mu.Unlock()
	if read {
		cc.kick()
	}
}

// readFrames waits for a frame and handles all that have come. When the read deadline passes, a
// partial frame stays in the connection, where the next reader finds it.
func (cc *clientConn) readFrames() error {
	defer cc.wakeRest()
	in := cc.conn.Reader()
	for {
		frame, err := cc.readFrame(in)
		if err == nil && frame != nil {
			err = cc.handle(frame)
		}
		if err != nil {
			cc.lookAtPart(in)
			cc.noteRest(in)
			_ = in.Release() // always nil
			return err
		}
		if !cc.hasFrame(in) {
			cc.reader.part = in.Len()
			cc.noteHeard()
			cc.noteRest(in)
			return in.Release()
		}
	}
}

// lookAtPart counts the bytes of a frame that have come since the last look as a sign of life. A
// reader that does not wait sees parts of a large frame here, and not in readLarge.
func (cc *clientConn) lookAtPart(in buffer.Reader) {
	part, before := in.Len(), cc.reader.part
	if part == before {
		return
	}
	cc.reader.part = part
	cc.heardPart()
	if cc.reader.large && part/partBytes != before/partBytes {
		cc.heardMore()
	}
}

// heardPart counts a sign of life that is less than a frame, or than a part of a large one.
func (cc *clientConn) heardPart() {
	cc.arrived.trickle.Add(1)
	cc.noteHeard()
	cc.vouch()
}

// heardMore counts a frame, or a part of a large one.
func (cc *clientConn) heardMore() {
	cc.arrived.progress.Add(1)
	cc.vouch()
}

// hasFrame reports whether the reader can go on without waiting: with another whole frame, with
// something that is no frame, or with a part of a frame that is skipped. What readFrames leaves in
// the buffer is none of these, so the next reader always waits for more.
func (cc *clientConn) hasFrame(in buffer.Reader) bool {
	if cc.reader.skip > 0 {
		return in.Len() > 0
	}
	if in.Len() < frame.PrefixBytes {
		return false
	}
	start, err := in.Peek(frame.PrefixBytes)
	if err != nil {
		return true
	}
	p, err := frame.Parse(start, cc.set.config.MaxFrameBytes)
	return err != nil || p.Bytes <= in.Len()
}

// readFrame waits for one frame and returns it in a buffer from frame.Take, with its prefix in
// cc.reader.prefix. It returns nil for a frame that is skipped, or a part of one.
func (cc *clientConn) readFrame(in buffer.Reader) (*buffer.LinkBuffer, error) {
	switch {
	case cc.reader.large:
		return cc.readLarge(in)
	case cc.reader.skip > 0:
		return nil, cc.skipRest(in)
	}
	if in.Len() == 0 {
		if _, err := in.Peek(1); err != nil {
			return nil, err
		}
	}
	if in.Len() < frame.PrefixBytes {
		cc.noteFrame(true)
	}
	start, err := in.Peek(frame.PrefixBytes)
	if err != nil {
		return nil, err
	}
	if cc.reader.prefix, err = frame.Parse(start, cc.set.config.MaxFrameBytes); err != nil {
		return nil, cc.refuse(start, err)
	}
	if cc.reader.prefix.Bytes > in.Len() {
		cc.noteFrame(true)
	}
	if cc.reader.prefix.Bytes > frame.CopyBytes {
		cc.reader.large = true
		return cc.readLarge(in)
	}
	return frame.Read(in, cc.reader.prefix.Bytes)
}

// readLarge goes on with a frame that comes in parts.
func (cc *clientConn) readLarge(in buffer.Reader) (*buffer.LinkBuffer, error) {
	whole := cc.reader.prefix.Bytes
	for {
		left := max(whole-in.Len(), 0)
		cc.setIncoming(int64(left))
		if left == 0 {
			cc.reader.large = false
			return frame.Read(in, whole)
		}
		wanted := min(left, partBytes)
		if left > clogBytes {
			wanted = min(wanted, left-clogBytes) // the connection is free again there
		}
		if err := frame.Await(in, whole, in.Len()+wanted); err != nil {
			return nil, err
		}
		cc.heardMore()
		cc.noteHeard()
		cc.reader.part = in.Len()
	}
}

// setIncoming records how much of a large frame is still to come. Calls that wait for a better
// connection take this one as soon as that is little.
func (cc *clientConn) setIncoming(left int64) {
	if before := cc.arrived.incoming.Swap(left); before > clogBytes && left <= clogBytes {
		cc.set.serveWaiters()
	}
}

// handle gives a frame to its call, which owns it then, or does what the frame says about the
// connection. cc.reader.prefix is the frame's.
func (cc *clientConn) handle(received *buffer.LinkBuffer) error {
	cc.heardMore()
	if cc.reader.prefix.IsControl() {
		defer frame.Drop(received)
		return cc.control(received)
	}
	cc.noteReply()
	// A stock peer may have copied what it got from a peer of this package.
	frame.Blank(received, cc.reader.prefix)
	if !cc.answer(cc.reader.prefix.SeqID, received, nil) {
		frame.Drop(received)
	}
	return nil
}
