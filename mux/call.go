package mux

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// Call is one request on its way, and its reply unless it is sent by SendOneway. One goroutine at a
// time uses it. Each call that Set.Begin returns must be ended, once, even if it has failed or the
// set is closed.
//
//	call, err := set.Begin(ctx, deadline)
//	defer call.End()
//	encode(call.Request(), call.SeqID())
//	err = call.Send()
//	reply, err := call.Receive()
//	decode(reply)
type Call struct {
	wake chan struct{} // has room for one; sent to once each time the caller parks

	// owned by the connection's reader until wake is sent to, and by the caller then
	wakes *Call // the call whose caller this one's caller wakes; nil: none

	// owned by the caller
	ctx      context.Context
	deadline time.Time // zero: none but ctx's
	conn     *clientConn
	seqID    uint32
	request  *buffer.LinkBuffer // nil once it was sent
	size     int                // bytes of the request
	held     int64              // of size: the bytes that count in conn.requests.held
	ahead    int64              // conn.oneways.sent when the request was sent
	queued   bool               // the request is, or was, in the output at position
	oneway   bool
	marks    bool // the request has the connection's mark
	unsent   bool // it is counted in conn.requests.unsent
	left     bool // it has left its connection
	position uint64
	timer    *time.Timer   // nil until it was needed
	sentAt   time.Duration // when it was sent, from conn.born on

	// guarded by conn.mu
	state      callState
	prev, next *Call              // in roles.waiting
	reply      *buffer.LinkBuffer // the caller's once the state is callAnswered
	refused    error              // why the call alone failed; nil if it did not
}

func (s *Set) newCall(ctx context.Context, deadline time.Time) *Call {
	c, ok := s.calls.Get().(*Call)
	if !ok {
		c = &Call{wake: make(chan struct{}, 1)}
	}
	c.ctx, c.deadline = ctx, steady(deadline)
	return c
}

// steady returns t as a time that no step of the wall clock moves: with a monotonic reading.
func steady(t time.Time) time.Time {
	if t.IsZero() || t != t.Round(0) {
		return t
	}
	now := time.Now()
	return now.Add(t.Sub(now))
}

// dropCall returns a call that has left its connection, or never had one, to the pool. Its channel
// and timer are kept for the next call.
func (s *Set) dropCall(c *Call) {
	if c.request != nil {
		frame.Drop(c.request)
	}
	if c.reply != nil {
		frame.Drop(c.reply)
	}
	*c = Call{wake: c.wake, timer: c.timer}
	s.calls.Put(c)
}

// SeqID returns the sequence ID that the request must carry, in its header and in its payload. It
// is never 0.
func (c *Call) SeqID() uint32 { return c.seqID }

// Request returns the buffer into which the caller must encode the request: one whole TTHeader
// frame with flag 0x01 and the call's sequence ID. Its memory belongs to the call until Send.
// Memory linked into it must not change until the call has ended.
func (c *Call) Request() *buffer.LinkBuffer {
	if c.request == nil {
		c.request = frame.Take()
	}
	return c.request
}

// RemoteAddr returns the address of the peer of the call's connection.
func (c *Call) RemoteAddr() net.Addr { return c.conn.conn.RemoteAddr() }

// LocalAddr returns the local address of the call's connection.
func (c *Call) LocalAddr() net.Addr { return c.conn.conn.LocalAddr() }

// Send queues the request, which leaves with those of other calls. It does not wait for the peer.
// If more than MaxPendingBytes already wait it waits or fails, as Config.Overload says. The error
// is an *Error; after it the call can only be ended.
//
// If the request is not one whole frame with the call's sequence ID, Send fails with a *FrameError.
func (c *Call) Send() error {
	if err := c.send(); err != nil {
		return c.fail("send", err)
	}
	return nil
}

// SendOneway is Send for a request that has no reply. It copies the request, and refers to none of
// the caller's memory when it returns.
func (c *Call) SendOneway() error {
	c.oneway = true
	if c.request != nil {
		c.request = frame.CopyOf(c.request)
	}
	return c.Send()
}

func (c *Call) send() error {
	if c.request == nil || c.queued {
		return &FrameError{Reason: "no request to send"}
	}
	cc := c.conn
	_ = c.request.Flush() // it has no Sink
	p, err := frame.Check(c.request, cc.longestRequest())
	switch {
	case err != nil:
		return ofFrame(err)
	case p.SeqID != c.seqID:
		return &FrameError{Reason: "sequence ID is not the call's"}
	}
	if err := c.over(); err != nil {
		return err
	}
	if err := cc.sign(c, p); err != nil {
		return err
	}
	if err := cc.waitForRoom(c); err != nil {
		return err
	}
	request := c.request
	c.request, c.size, c.sentAt = nil, p.Bytes, time.Since(cc.born)
	held := 0
	if c.oneway { // no waiting caller stands for its memory
		held = frame.MinMemory
		cc.noteOneway(c)
	}
	c.ahead = cc.oneways.sent.Load()
	c.position, err = cc.out.SendHolding(request, held, cc.company())
	c.queued = err == nil
	if c.oneway && err == nil {
		cc.oneways.sent.Add(int64(p.Bytes)) // now that it is ahead of what others send from here on
	}
	cc.sent(c)
	if c.marks {
		cc.watchNow() // other calls wait for the hello, and this one's caller may not read
	}
	return err
}

// Receive waits for the reply and returns it: one whole TTHeader frame from its length field on.
// The Reader is valid until End. While Receive waits it may read replies for other calls. The error
// is an *Error. After it the call must be ended, unless the error is ErrRefused and Again gives the
// call another place. A late reply is dropped.
func (c *Call) Receive() (buffer.Reader, error) {
	if !c.queued || c.oneway || c.left {
		return nil, c.fail("receive", &FrameError{Reason: "no request was sent that has a reply"})
	}
	over := c.conn.await(c)
	c.leave()
	switch {
	case over != nil:
		c.conn.timedOut(c, over)
		return nil, c.fail("receive", over)
	case c.refused != nil:
		return nil, c.failRefused()
	case c.reply == nil:
		return nil, c.fail("receive", c.conn.deathCause())
	}
	return c.reply, nil
}

// End gives back everything that the call holds: its sequence ID, its place among the calls in
// flight and its memory. If no byte of the request was written, the request is no longer sent,
// unless it is a oneway. End does not wait. The call must not be used afterwards.
func (c *Call) End() {
	c.leave()
	cc := c.conn
	cc.set.dropCall(c)
	cc.release()
}

// Retire has a connection that is not shared end with the call, for example when the reply says
// that the server gives the connection up. On a shared connection it does nothing: a reply to one
// call does not concern the others, and a peer that is about to go says so in a control frame.
func (c *Call) Retire() {
	if mode(c.conn.mode.Load()) != modeShared {
		c.conn.set.drain(c.conn)
	}
}

// leave ends the call's part in its connection, once.
func (c *Call) leave() {
	if !c.left {
		c.left = true
		c.conn.leave(c)
	}
}

// isOver reports whether the caller must leave now.
func (c *Call) isOver() bool { return c.over() != nil }

// over returns why the caller must leave now; nil if it may wait.
func (c *Call) over() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// park waits until the call is woken, and returns nil, or until its time is over, and returns why.
func (c *Call) park() error { return c.parkOn(c.wake) }

// parkOn is park for another channel.
func (c *Call) parkOn(woken <-chan struct{}) error { return c.parkUnless(woken, nil) }

// parkUnless is parkOn, except that it returns ErrElsewhere once elsewhere is closed.
func (c *Call) parkUnless(woken, elsewhere <-chan struct{}) error {
	done := c.ctx.Done()
	if c.deadline.IsZero() {
		if done == nil && elsewhere == nil {
			<-woken
			return nil
		}
		select {
		case <-woken:
			return nil
		case <-elsewhere:
			return ErrElsewhere
		case <-done:
			return c.ctx.Err()
		}
	}
	if c.timer == nil {
		c.timer = time.NewTimer(time.Until(c.deadline))
	} else {
		c.timer.Reset(time.Until(c.deadline))
	}
	defer c.timer.Stop()
	select {
	case <-woken:
		return nil
	case <-elsewhere:
		return ErrElsewhere
	case <-done:
		return c.ctx.Err()
	case <-c.timer.C:
		return os.ErrDeadlineExceeded
	}
}

// fail returns the call's error. The call counts as sent if its frame was begun, or will be: a
// queued oneway is not taken back.
func (c *Call) fail(op string, err error) error {
	e := &Error{Op: op, Err: err}
	if c.conn != nil {
		e.Addr = c.conn.conn.RemoteAddr()
		e.sent = c.queued && (c.oneway || c.conn.out.Begun(c.position))
	}
	return e
}
