package conn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/internal/callback"
)

// servingBudget is how many reads a worker gives one connection before it
// looks whether others wait.
const servingBudget = 16

// serving is what the workers that serve a connection know of the calls of OnRequest.
//
// seen never exceeds what was received. After OnRequest has returned it falls short of that only by
// what has come since, or was left unread by a call that has paused, or whose goroutine has ended
// (passOn).
type serving struct {
	offeredAt atomic.Uint64 // the sweep's tick in which the reading side was last offered

	// owned by the holder of the reading side
	seen      uint64 // how much of input.received OnRequest has seen; set at its return or Offer
	looks     uint8  // how often a wrapper was looked at; no longer counted once looks are shortest
	running   bool   // OnRequest runs and has not offered the reading side
	paused    bool   // the OnRequest that runs, or ran last, has called Pause
	connected bool   // OnConnect was called
}

// begin notes that OnRequest is called.
func (s *serving) begin() { s.running, s.paused = true, false }

// markSeen records, when OnRequest returns or offers the reading side, what it has seen:
// everything, or after Pause only what it took.
func (s *serving) markSeen(in *input) {
	s.running = false
	s.seen = in.received
	if s.paused {
		s.seen = in.taken()
	}
}

// hasUnseen reports whether there are bytes for which OnRequest was not called yet.
func (s *serving) hasUnseen(in *input) bool { return in.received > s.seen }

// patience returns how long the next look at a wrapper takes. Each look is half as long as the one
// before, so that a client that keeps sending requests does not hold up a stop.
func (s *serving) patience() time.Duration {
	if d := firstLook >> s.looks; d > shortestLook {
		s.looks++
		return d
	}
	return shortestLook
}

// serve runs on a worker that took c from the queue, until the worker lets go of c. It reads and
// handles what was read, again and again, then waits for more in the way that fits (settle).
func (c *Conn) serve() {
	c.transition(eventServe)
	c.touch()
	if !c.connect() {
		return
	}
	if c.callbacks.onRequest.Load() == nil {
		c.yield()
		return
	}
	// Bytes may be there already if a user read before SetOnRequest, or if
	// OnRequest has paused.
	if c.serving.hasUnseen(&c.input) && !c.handle() {
		return
	}
	next := settleNow
	if !c.arming.hasPoller() {
		next = settleLinger
	}
	for reads := 1; next != settleGone; reads++ {
		next = c.serveOnce(next, reads)
	}
}

// serveOnce reads in the way that how says, handles what came, and decides how to wait for the next
// bytes.
func (c *Conn) serveOnce(how settlement, reads int) settlement {
	n, err := c.receive(how)
	switch {
	case err == nil && !c.handle():
		return settleGone
	case err == nil && n >= int(c.input.lastSpace):
		return c.settleBusy(reads)
	case err == nil:
		return c.settle()
	case err != errWouldBlock:
		c.end(err)
		return settleGone
	case how == settleLinger:
		return c.settleKicked()
	case c.drained():
		return c.closeDrained()
	}
	return c.settleEmpty()
}

// settlement is what a worker does with a connection it has served.
type settlement uint8

const (
	settleGone   settlement = iota // it was given to the poller or the queue, or is closed
	settleNow                      // read again
	settleLinger                   // wait on the socket
)

// settle decides how to wait for the next bytes after a read that emptied the socket. The peer's
// end is read at once. Where every arming stays, the socket is read until it is empty, since
// nothing looks at the level again.
func (c *Conn) settle() settlement {
	if c.raw && (word(c.state.Load()).has(flagHangup) || c.arming.errQueue.Load()) {
		return settleNow
	}
	return c.settleEmpty()
}

// settleEmpty decides after a look that found nothing, not even the peer's end.
// Where few connections are in use and none waits, the goroutine stays on this
// socket: the next request then needs no poller and no queue. Where many are,
// the poller reports them in batches, which costs less.
func (c *Conn) settleEmpty() settlement {
	if !c.arming.hasPoller() || c.mayLinger() && c.group.dispatcher.startLingering() {
		return settleLinger
	}
	c.markUsed()
	return c.rest()
}

// mayLinger reports whether lingering may be worth it. After it the poller must be armed again,
// which would report an error queue that is not empty.
func (c *Conn) mayLinger() bool { return !c.group.isCrowded() && !c.arming.errQueue.Load() }

// settleBusy decides after a read that filled its space, so that there may be
// more: a connection that has had its budget goes to the queue's end if others wait.
func (c *Conn) settleBusy(reads int) settlement {
	if !c.arming.hasPoller() {
		return settleLinger
	}
	if reads%servingBudget != 0 || c.group.dispatcher.waiting.Load() == 0 {
		return settleNow
	}
	switch c.transition(eventRequeue) {
	case actQueue:
		c.group.dispatcher.push(c)
	case actTeardown:
		c.teardown()
	}
	return settleGone
}

// settleKicked decides after the sweep has ended a lingering wait, which may not have read even
// once. Another worker that was slow to arm may have made an arming that stays after this worker
// had looked for one. No other worker learns what that arming reported, so this one looks.
func (c *Conn) settleKicked() settlement {
	switch {
	case c.arming.hasPoller() && c.arming.staying.Load():
		return settleNow
	case c.arming.hasPoller():
		return c.rest()
	case c.drained():
		return settleNow // a request may have come; a wrapper's is still unread after the kick
	}
	return settleLinger
}

// drained reports whether a connection with nothing to read now can be closed since it is draining:
// it has no begun request in its buffer and no work that goes on beside the callbacks.
func (c *Conn) drained() bool {
	w := word(c.state.Load())
	return w.has(flagDraining) && !w.has(flagBusy) && c.input.buf.Len() == 0
}

// closeDrained closes a connection that is drained.
func (c *Conn) closeDrained() settlement {
	c.closeWith(net.ErrClosed)
	c.release()
	return settleGone
}

// yield gives a connection without a request handler to its user.
func (c *Conn) yield() {
	c.markUsed() // before it is at rest: OnConnect may have taken long
	if c.transition(eventYield)&actTeardown != 0 {
		c.teardown()
		return
	}
	c.enlist()
	if word(c.state.Load()).has(flagHangup) {
		c.disconnectElsewhere()
	}
	c.adopt()
}

// rest arms the poller and lets go of the connection. Arming looks at the level: what came
// meanwhile is reported at once. If the connection is to be drained, or an arming that stays has
// reported something meanwhile, the worker looks once more instead.
func (c *Conn) rest() settlement {
	ev := eventRest
	if c.input.buf.Len() > 0 {
		ev = eventRestPartial
	}
	c.arming.mu.Lock()
	act := c.transition(ev)
	var err error
	if act == actNone && !c.arming.staying.Load() {
		err = c.armToRestLocked()
	}
	c.arming.mu.Unlock()
	switch {
	case act&actKick != 0:
		return settleNow
	case act&actTeardown != 0:
		c.teardown()
	case err != nil:
		c.closeWith(opError("arm", c.remote, err))
	case c.arming.staying.Load():
		c.touch() // now: the sweep must look at the level, and may have dropped it before
	}
	return settleGone
}

// receive reads into the input buffer, in the way that how says.
func (c *Conn) receive(how settlement) (int, error) {
	if how == settleLinger {
		return c.receiveLingering()
	}
	return c.receiveNow()
}

// receiveNow reads what is there.
func (c *Conn) receiveNow() (int, error) {
	space := c.input.buf.Reserve(0)
	if !c.looks() {
		return c.look(space)
	}
	n, err := c.sock.tryRead(space)
	return c.input.commit(space, n, err)
}

const (
	// firstLook is long enough to read what is there even on a busy machine, and short for a stop.
	firstLook = 5 * time.Millisecond

	// shortestLook leaves a client little time to send another request.
	shortestLook = 100 * time.Microsecond
)

// look is receiveNow for a wrapper that is being drained. It must wait a little: a deadline that
// has passed would end the wrapper's Read although bytes are there.
func (c *Conn) look(space []byte) (n int, err error) {
	patience := c.serving.patience()
	for again := true; again; {
		if c.input.limit.beginLook(patience) != nil {
			return 0, errWouldBlock // it is closed, or would wait forever
		}
		n, err = c.sock.waitRead(space)
		// A wakeUp that was meant for the wait before this one may come late.
		again = n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.input.limit.kicked()
	}
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		err = errWouldBlock
	}
	return c.input.commit(space, n, err)
}

// receiveLingering waits for data on the socket until there is some, or until
// the sweep finds the wait not worth a goroutine: then the error is errWouldBlock.
func (c *Conn) receiveLingering() (int, error) {
	if c.arming.staying.Load() {
		c.arming.unstay(c.sock)
	}
	c.markUsed() // before it is at rest: OnRequest may have taken long
	if !c.startLingering() {
		return 0, errWouldBlock
	}
	c.enlist() // now: a sweep that saw it before it lingered may have dropped it
	space := c.input.buf.Reserve(0)
	n, err := c.sock.waitRead(space)
	for n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		if c.input.limit.kicked() {
			err = errWouldBlock
			break
		}
		n, err = c.sock.waitRead(space)
	}
	c.stopLingering()
	if n > 0 {
		c.touch()
	}
	return c.input.commit(space, n, err)
}

// startLingering reports whether the worker may wait; not if the connection is
// to be drained.
func (c *Conn) startLingering() bool {
	ev := eventLinger
	if c.input.buf.Len() > 0 {
		ev = eventLingerPartial
	}
	if c.transition(ev)&actKick == 0 {
		return true
	}
	if c.arming.hasPoller() {
		c.group.dispatcher.stopLingering()
	}
	return false
}

func (c *Conn) stopLingering() {
	c.transition(eventResume)
	if c.arming.hasPoller() {
		c.group.dispatcher.stopLingering()
	}
}

// handle calls OnRequest as long as there is something to read and it takes some of it. It reports
// whether the caller still has the connection and must go on with it.
func (c *Conn) handle() bool {
	for c.input.buf.Len() > 0 {
		taken := c.input.taken()
		switch {
		case !c.request():
			return false
		case c.serving.paused:
			if !c.restPaused() {
				return false
			}
		case c.input.taken() == taken:
			return true // it needs more than has come
		}
	}
	return true
}

// request calls OnRequest once. It reports whether the caller still has the connection: not if it
// was closed, and not if OnRequest has lost the reading side. If OnRequest ends the goroutine,
// request does not return; then another worker has the connection or it is closed.
func (c *Conn) request() (keeps bool) {
	c.touch()
	c.serving.begin()
	c.transition(eventHandle)
	turn := c.Turn()
	var err error
	callback.Run(
		func() { err = (*c.callbacks.onRequest.Load())(c.callbacks.ctx, c) },
		func(failure *callback.Failure) {
			if failure != nil && (!failure.EndsGoroutine() || !c.callbacks.isKeptOpen(turn)) {
				err = c.failed(failure)
			}
			keeps = c.requestEnded(turn, err)
			if keeps && failure.EndsGoroutine() {
				c.passOn()
			}
		})
	return keeps
}

// requestEnded finishes a call of OnRequest that began in turn and ended with err. It reports
// whether the call still had the connection and has left it open.
func (c *Conn) requestEnded(turn Turn, err error) bool {
	if !c.handled(turn.word) {
		if err != nil {
			c.closeWith(err)
		}
		c.EndWork()
		return false
	}
	c.serving.markSeen(&c.input)
	if err != nil {
		c.closeWith(err)
	}
	if !c.isOpenOrRelease() {
		return false
	}
	_ = c.input.buf.Release()
	return true
}

// isOpenOrRelease reports whether the connection is open. If not, it releases the connection, which
// the caller held.
func (c *Conn) isOpenOrRelease() bool {
	if word(c.state.Load()).isOpen() {
		return true
	}
	c.release()
	return false
}

// passOn gives the connection to another worker, since the goroutine ends after an OnRequest that
// was kept open. What OnRequest has left unread is passed to it again.
func (c *Conn) passOn() {
	if c.serving.paused && !c.restPaused() {
		return
	}
	c.serving.seen = c.input.taken()
	switch c.transition(eventRequeue) {
	case actQueue:
		c.enqueue()
	case actTeardown:
		c.teardown()
	}
}

// connect calls OnConnect if it was not called yet. It reports whether the connection is open; if
// not, it has been released.
func (c *Conn) connect() bool {
	onConnect := c.config.OnConnect
	if onConnect != nil && !c.serving.connected {
		c.serving.connected = true
		c.transition(eventHandle)
		callback.Run(
			func() { c.callbacks.setContext(onConnect(c.callbacks.ctx, c)) },
			c.connectEnded)
	}
	return c.isOpenOrRelease()
}

// connectEnded finishes a call of OnConnect.
func (c *Conn) connectEnded(failure *callback.Failure) {
	if failure != nil {
		c.closeWith(c.failed(failure))
	}
	c.callbacks.connectReturned()
	c.transition(eventHandled)
	w := word(c.state.Load())
	if w.isOpen() && w.has(flagHangup) {
		c.disconnectElsewhere()
	}
	if failure.EndsGoroutine() {
		c.release()
	}
}

// end finishes a connection whose socket gave err. What came before the peer's
// close is handled first, so that a message followed by a FIN is not lost.
func (c *Conn) end(err error) {
	if !word(c.state.Load()).isOpen() {
		c.endHeld(net.ErrClosed)
		return
	}
	c.hangup(err)
	if !c.handle() {
		return
	}
	c.disconnect(func() {
		if !errors.Is(err, io.EOF) || !c.awaitCalm() {
			c.endHeld(err)
		}
	})
}

// endHeld closes a connection that the caller holds, for cause.
func (c *Conn) endHeld(cause error) {
	if !errors.Is(cause, io.EOF) {
		cause = opError("read", c.remote, cause)
	}
	c.closeWith(cause)
	c.release()
}
