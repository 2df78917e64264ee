package pool

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// Call is a call's place on a shared connection, in the form of the connection that Kitex takes
// from a pool for it, and puts back or discards when the call is over. Only a handler that knows
// Calls can make one: it carries no bytes by Read and Write. It is not reused for another call:
// ending this one twice would end that one.
//
// A Call belongs to one goroutine, except that any may end it. Nothing but End and Close may be
// called once it has ended.
type Call struct {
	// Sent is for the handler alone: the message to send again if the peer refuses it.
	Sent remote.Message

	call   *mux.Call // ended once, by End, and not used after that. Immutable
	pool   *Mux      // immutable while the call lasts
	timed  TimedCall // the call that this is an attempt at; nil: it is not timed. Immutable
	counts bool      // this attempt counts in timed
	ended  atomic.Bool
}

// callsAtATime is how many Calls are allocated together.
const callsAtATime = 32

// unusedCalls holds Calls that were never used, which are allocated many at a time.
type unusedCalls struct{ left []Call }

// take returns a Call that was never used.
func (u *unusedCalls) take() *Call {
	if len(u.left) == 0 {
		u.left = make([]Call, callsAtATime)
	}
	c := &u.left[0]
	u.left = u.left[1:]
	return c
}

var _ net.Conn = (*Call)(nil)

// LocalAddr implements net.Conn: it is the connection's.
func (c *Call) LocalAddr() net.Addr { return c.call.LocalAddr() }

// RemoteAddr implements net.Conn: it is the connection's.
func (c *Call) RemoteAddr() net.Addr { return c.call.RemoteAddr() }

// SeqID is mux.Call's.
func (c *Call) SeqID() uint32 { return c.call.SeqID() }

// Request is mux.Call's.
func (c *Call) Request() *buffer.LinkBuffer { return c.call.Request() }

// Again is mux.Call's.
func (c *Call) Again() error { return c.call.Again() }

// Retire is mux.Call's.
func (c *Call) Retire() { c.call.Retire() }

// Send is mux.Call's. It counts as an attempt of the TimedCall, if there is one.
func (c *Call) Send() error {
	if err := c.beginSending(); err != nil {
		return err
	}
	err := c.call.Send()
	c.noteUnsent(err)
	return err
}

// SendOneway is mux.Call's. It counts as Send does.
func (c *Call) SendOneway() error {
	if err := c.beginSending(); err != nil {
		return err
	}
	err := c.call.SendOneway()
	c.noteUnsent(err)
	return err
}

// Receive is mux.Call's. If its error says that the request was not sent, the attempt does not
// count.
func (c *Call) Receive() (buffer.Reader, error) {
	reply, err := c.call.Receive()
	c.noteUnsent(err)
	return reply, err
}

func (c *Call) beginSending() error {
	if c.timed == nil {
		return nil
	}
	err := c.timed.BeginSending()
	c.counts = c.counts || err == nil
	return err
}

// noteUnsent takes the attempt back if err, its error, says that nothing of it has left.
func (c *Call) noteUnsent(err error) {
	if err != nil && c.counts && isNotSent(err) {
		c.counts = false
		c.timed.UndoSending()
	}
}

// Fail returns err, with which the call has failed, as Kitex classifies it: by the class Kitex
// decides whether to make another attempt, and what circuit breakers count. It notes in err, if
// that is a *mux.Error, whether other attempts at the call may have been sent, and logs, at most
// once a second, that a limit has refused the call. err must not change afterwards.
func (c *Call) Fail(err error) error {
	classified := classify(err)
	noteSentBefore(c.timed, err)
	if isRefusal(err) {
		c.pool.logRefusal(c.RemoteAddr(), err)
	}
	return classified
}

// logRefusal logs that a limit was reached. The line may be written later.
func (p *Mux) logRefusal(addr net.Addr, err error) {
	address := addr.String()
	p.refusals.Log(func(more int) {
		klog.Warnf("KITELINE: call refused, to_service=%s, remoteAddress=%s, error=%v (%d more not logged)",
			p.service, address, err, more)
	})
}

// End ends the call, and does nothing the second time.
func (c *Call) End() {
	if c.ended.CompareAndSwap(false, true) {
		c.call.End()
	}
}

// Close implements net.Conn: it ends the call, not the connection.
func (c *Call) Close() error {
	c.End()
	return nil
}

// Read implements net.Conn: it fails.
func (c *Call) Read([]byte) (int, error) { return 0, netpollconn.ErrForeign }

// Write implements net.Conn: it fails.
func (c *Call) Write([]byte) (int, error) { return 0, netpollconn.ErrForeign }

// SetDeadline implements net.Conn. It does nothing: the call's deadline is that of its context.
func (c *Call) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn, as SetDeadline does.
func (c *Call) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn, as SetDeadline does.
func (c *Call) SetWriteDeadline(time.Time) error { return nil }
