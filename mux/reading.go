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
	// partBytes is how much of a reply longer than frame.CopyBytes is waited for at a time, so that
	// others see that it comes, and how much still has to.
	partBytes = 256 << 10
)

// await returns nil when c has ended on the connection, answered or failed, and
// otherwise why its caller has to leave before.
func (cc *clientConn) await(c *Call) error {
	cc.mu.Lock()
	state := cc.roles.arrive(c)
	cc.mu.Unlock()
	if state == callWaiting {
		if over := c.park(); over != nil {
			return cc.expire(c, over)
		}
		c.awake()
		cc.mu.Lock()
		state = c.state
		cc.mu.Unlock()
	}
	if state == callLeading {
		return cc.lead(c)
	}
	return nil
}

// expire decides on a parked caller whose time is over. If it was to be woken at that
// moment the wake-up is on its way, and has to be taken: c may be used again.
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

// lead reads for all callers until c has ended, and returns nil, or until c's caller has
// to leave, and returns why. leave passes the role on.
func (cc *clientConn) lead(c *Call) error {
	cc.limitRead(c.deadline)
	if c.ctx.Done() != nil {
		stop := context.AfterFunc(c.ctx, cc.kickFunc)
		defer stop()
	}
	for {
		err := cc.readFrames()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The deadline may be another caller's, or a kick for one that has gone.
			cc.setReadDeadline(c.deadline)
			if over := c.over(); over != nil {
				return over // checked after the deadline was set, which may undo a kick
			}
		default:
			cc.fail(err)
		}
		cc.mu.Lock()
		state := c.state
		cc.mu.Unlock()
		if state.isFinal() {
			return nil
		}
	}
}

// limitRead makes sure that the reader looks up by deadline, zero for never. An earlier
// deadline is left as it is: a reader that it wakes too soon sets its own then, so that
// calls with the same timeout set one now and then and not each.
func (cc *clientConn) limitRead(deadline time.Time) {
	if deadline.IsZero() || !cc.readDeadline.IsZero() && !cc.readDeadline.After(deadline) {
		return
	}
	cc.setReadDeadline(deadline)
}

func (cc *clientConn) setReadDeadline(t time.Time) {
	cc.readDeadline = t
	_ = cc.conn.SetReadDeadline(t) // fails on a closed connection, as the read will
}

// longAgo returns a read deadline that has passed.
func longAgo() time.Time { return time.Unix(1, 0) }

// kick has the reader look up. It may come late, when another reads: that one reads on. A
// connection that was handed over is left alone.
func (cc *clientConn) kick() {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if cc.cause == nil {
		_ = cc.conn.SetReadDeadline(longAgo()) // fails on a closed connection, whose reader has looked up
	}
}

// kickReader is kick, if there is a reader.
func (cc *clientConn) kickReader() {
	cc.mu.Lock()
	read := cc.roles.leader != nil || cc.roles.watched
	cc.mu.Unlock()
	if read {
		cc.kick()
	}
}

// readFrames waits for a frame and handles all that have come. An error of the
// deadline's leaves a partial frame in the connection, where the next reader finds it.
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
			cc.part = in.Len()
			cc.noteHeard()
			cc.noteRest(in)
			return in.Release()
		}
	}
}

// lookAtPart counts bytes as progress that have come of a frame since somebody looked.
func (cc *clientConn) lookAtPart(in buffer.Reader) {
	if part := in.Len(); part != cc.part {
		cc.part = part
		cc.heardPart()
	}
}

// heardPart counts a sign of life that is less than a frame, or than a part of a large one.
func (cc *clientConn) heardPart() {
	cc.trickle.Add(1)
	cc.noteHeard()
	cc.vouch()
}

// heardMore counts a frame, or a part of a large one.
func (cc *clientConn) heardMore() {
	cc.progress.Add(1)
	cc.vouch()
}

// hasFrame reports whether another whole frame, something that is no frame, or a part of one that
// is skipped can be read without waiting. What readFrames leaves in the buffer is no such thing, so
// that whoever looks next has to wait for more in any case.
func (cc *clientConn) hasFrame(in buffer.Reader) bool {
	if cc.skip > 0 {
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

// readFrame waits for one frame and returns it, in a buffer from frame.Take, its prefix
// being in cc.prefix; nil is one that is skipped, or a part of it.
func (cc *clientConn) readFrame(in buffer.Reader) (*buffer.LinkBuffer, error) {
	switch {
	case cc.large:
		return cc.readLarge(in)
	case cc.skip > 0:
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
	if cc.prefix, err = frame.Parse(start, cc.set.config.MaxFrameBytes); err != nil {
		return nil, cc.refuse(start, err)
	}
	if cc.prefix.Bytes > in.Len() {
		cc.noteFrame(true)
	}
	if cc.prefix.Bytes > frame.CopyBytes {
		cc.large = true
		return cc.readLarge(in)
	}
	return frame.Read(in, cc.prefix.Bytes)
}

// readLarge goes on with a frame that comes in parts.
func (cc *clientConn) readLarge(in buffer.Reader) (*buffer.LinkBuffer, error) {
	whole := cc.prefix.Bytes
	for {
		left := max(whole-in.Len(), 0)
		cc.setIncoming(int64(left))
		if left == 0 {
			cc.large = false
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
		cc.part = in.Len()
	}
}

// setIncoming says how much is still to come of a large frame. Who waits for a better
// connection takes this one as soon as that is little.
func (cc *clientConn) setIncoming(left int64) {
	if before := cc.incoming.Swap(left); before > clogBytes && left <= clogBytes {
		cc.set.serveWaiters()
	}
}

// handle gives a frame to its call, which owns it then, or does what it says about the
// connection. cc.prefix is the frame's.
func (cc *clientConn) handle(received *buffer.LinkBuffer) error {
	cc.heardMore()
	if cc.prefix.IsControl() {
		defer frame.Drop(received)
		return cc.control(received)
	}
	cc.noteReply()
	frame.Blank(received, cc.prefix) // a stock peer may have copied what it got from one of this package
	if !cc.answer(cc.prefix.SeqID, received, nil) {
		frame.Drop(received)
	}
	return nil
}
