package mux

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// mode says how a client's connection may be used.
type mode uint8

const (
	// modeProbing: no frame has come yet, so the peer's kind is unknown. One call; other calls wait
	// for the hello. Left with the first frame.
	modeProbing mode = iota

	// modeShared: the first frame was the peer's hello. Many calls at a time. Final.
	modeShared

	// modeUnshared: the first frame was another one, or the first request has no mark. No further
	// call; left when the connection is handed over, after its call.
	modeUnshared
)

// String returns the mode's name.
func (m mode) String() string { return [...]string{"probing", "shared", "unshared"}[m] }

// linkedBytes is the length from which codecs link memory instead of copying it (buffer.Writer's
// WriteBinary).
const linkedBytes = 4 << 10

// lostTime is how long calls whose callers have gone may hold half of a connection's places, or
// more, before it is replaced: their replies seem never to come. It takes up to twice as long, and
// longer than any server takes that is only slow.
const lostTime = 10 * time.Second

// clientConn is one connection of a Set. Its callers do all the work: they send on its output, and
// read for each other (see roles).
//
// mu is taken after Set.mu and before the output's mu.
type clientConn struct {
	// immutable after newClientConn, polled after listen
	set      *Set
	conn     *conn.Conn
	out      *output.Output
	born     time.Time
	grace    time.Duration // how long an answer that needs no handler may take here
	maxAge   time.Duration // at which it is replaced; 0: never
	kickFunc func()        // kick, made once
	polled   bool          // a poller reports what comes: no watcher waits for it

	// written by the reader before mode is modeShared, and read once it is
	limits limits

	// atomic
	mode  atomic.Uint32 // a mode; changed with mu held
	trust atomic.Uint32 // a trust; changed with Set.mu held

	// these say who guards them
	hello    hello
	places   places
	requests requests
	oneways  oneways
	arrived  arrived

	reader reader // owned by the reader

	mu sync.Mutex

	// guarded by mu
	life    life
	roles   roles
	cancels cancels

	// guarded by Set.mu
	standing standing
	upkeep   upkept
}

// newClientConn takes over a connection whose dial took that long.
func newClientConn(s *Set, c *conn.Conn, dialTook time.Duration) *clientConn {
	cc := &clientConn{set: s, conn: c, born: time.Now(), grace: answerGrace(dialTook)}
	cc.kickFunc = cc.kick
	cc.places.most.Store(1)
	if s.config.MaxAge > 0 {
		cc.maxAge = jitter(s.config.MaxAge, ageJitter)
	}
	cc.places.calls.generation = s.config.firstGeneration
	if cc.places.calls.generation == 0 {
		cc.places.calls.generation = randomGeneration()
	}
	cc.out = output.New(c, output.Config{
		Waits:           !output.CanTry(c.NetConn()),
		Lent:            true,
		WriteTimeout:    s.config.WriteTimeout,
		MaxBatchBytes:   s.config.MaxBatchBytes,
		MaxBatchFrames:  s.config.MaxBatchFrames,
		MaxPendingBytes: s.config.MaxPendingBytes,
		OnError:         cc.fail,
		OnRoom:          s.serveWaiters,
		CalmBytes:       clogBytes,
		Start:           s.goroutines.start,
		Counters:        &s.counters.output,
	})
	// Clear what the dialer has set. This fails on a closed connection, as the first read will.
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetReadTimeout(0)
	_ = c.SetIdleTimeout(0) // callers may wait although no goroutine reads (glance.go)
	return cc
}

// begin gives c a place on the connection, if there is one. A call whose caller has gone keeps its
// place until its reply comes: the peer must still answer it.
func (cc *clientConn) begin(c *Call) bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if !cc.life.takesCalls() || cc.hello.awaited.Load() || !cc.places.isOneFreeLocked() ||
		cc.isFull() || !cc.fitsPeer(cc.places.calls.lateBytes) {
		return false
	}
	id := cc.places.giveLocked(c)
	cc.awaitHelloLocked()
	cc.requests.unsent.Add(1)
	c.conn, c.seqID, c.state, c.unsent = cc, id, callOpen, true
	return true
}

// isFull reports whether as many bytes wait to be written as may. That includes what calls that
// have begun and not sent are likely to add: they hold that memory already, or soon will. Each of
// them calls sent later, which wakes the callers that wait because of it.
func (cc *clientConn) isFull() bool {
	return cc.requests.expected()+int64(cc.out.Pending()) > int64(cc.set.config.MaxPendingBytes)
}

// sent records that c's request was queued, or never will be.
func (cc *clientConn) sent(c *Call) {
	if !c.unsent {
		return
	}
	c.unsent = false
	cc.requests.sent(c.size)
	cc.set.serveWaiters()
}

// company says whether other calls are in flight here. It may be slightly out of date.
func (cc *clientConn) company() output.Company {
	if cc.places.load.Load() > 1 {
		return output.InCompany
	}
	return output.Alone
}

// ending is how a call ends: with its reply, or without one, because of failed or else because the
// peer has refused it for reason.
type ending struct {
	reply  *buffer.LinkBuffer
	failed error
	reason frame.Reason
}

// answer gives a call its reply, or, if frame is nil, fails that call alone with failed. It reports
// false if no caller waits for it; the frame then stays the reader's. Only the reader calls it.
func (cc *clientConn) answer(id uint32, frame *buffer.LinkBuffer, failed error) bool {
	awaited := cc.endCall(id, ending{reply: frame, failed: failed})
	if !awaited {
		cc.set.counters.lateReplies.Add(1)
	}
	return awaited
}

// endCall ends a call, and the use of its sequence ID, because of what the peer has sent. It
// reports false if no caller waits for that. Only the reader calls it.
func (cc *clientConn) endCall(id uint32, e ending) (awaited bool) {
	cc.mu.Lock()
	c := cc.places.calls.take(id)
	if c != nil || id == cc.oneways.last {
		cc.oneways.last = 0 // a peer that does not share answers in turn, and call by call
	}
	left := cc.places.takenLocked()
	switch {
	case isForLater(e.reason):
		cc.places.throttle.refused(left)
		cc.planRestLocked()
		cc.openLocked()
	case cc.places.throttle.window > 0:
		cc.places.throttle.replied(left)
		cc.openLocked()
	}
	wake := c != nil && cc.settleLocked(c, e)
	end := cc.freedLocked()
	cc.mu.Unlock()
	if wake {
		cc.wakeSoon(c)
	}
	if end {
		cc.finish()
	}
	cc.set.serveWaiters() // its caller may leave much later, or has left
	if c != nil {
		cc.reader.answered++
	}
	return c != nil
}

// settleLocked ends c, and reports whether its caller is parked and must be woken.
func (cc *clientConn) settleLocked(c *Call, e ending) (wake bool) {
	switch {
	case e.reply != nil:
		c.reply = e.reply
		return cc.roles.settle(c, callAnswered)
	case e.failed != nil:
		c.refused = e.failed
	default:
		cc.set.counters.refused.Add(1)
		c.refused = cc.refusal(c, e.reason)
	}
	return cc.roles.settle(c, callFailed)
}

// freedLocked records that a slot may have been freed. It reports whether that was the last one of
// a draining connection: the caller then calls finish, without the lock.
func (cc *clientConn) freedLocked() (end bool) {
	cc.places.publishLocked()
	return cc.places.calls.inFlight == 0 && cc.life.end()
}

// leave ends the part of a caller that is awake: with its reply, with an error, or because its time
// is over. A request that was not begun is taken back. For one that was begun, the caller's memory
// is no longer referred to.
func (cc *clientConn) leave(c *Call) {
	cc.sent(c)
	cc.mu.Lock()
	gone, answered := !c.state.isFinal(), c.state == callAnswered
	cc.oneways.noteRead(c)
	next, do := cc.roles.depart(c)
	abandoned := gone && cc.giveUpLocked(c)
	cc.unmarkLocked(c)
	if c.held > 0 {
		cc.requests.held.Add(-c.held)
	}
	end := !abandoned && cc.freedLocked()
	crowded := gone && cc.isCrowded()
	cc.mu.Unlock()
	cc.handOn(next, do)
	if c.queued && !c.oneway && (!answered || c.size >= linkedBytes) {
		// An answered request has left whole, unless the peer answers what it has not read.
		if !answered || !cc.out.Cancel(c.position) {
			cc.out.Detach(c.position)
		}
	}
	switch {
	case abandoned:
		cc.fail(errAbandoned)
	case end:
		cc.finish()
	default:
		cc.set.serveWaiters()
	}
	cc.watchForRoom(c, crowded)
}

// watchForRoom has the connection read after c has left it, if calls may wait for something that
// the peer says: such calls have no place here, and so do not read.
func (cc *clientConn) watchForRoom(c *Call, crowded bool) {
	if c.refused != nil || crowded {
		cc.watchNow()
	}
	if crowded {
		cc.set.planUpkeep(lostTime / 8)
	}
}

// isCrowded reports whether calls whose callers have gone hold half of the places, or more.
func (cc *clientConn) isCrowded() bool {
	late := int(cc.places.late.Load())
	return late > 0 && 2*late >= cc.mostPlaces()
}

// giveUpLocked frees the slot of a call that has no reply and no longer wants one, or keeps it for
// the late reply. On a connection that is not shared the next call would wait for that reply:
// giveUpLocked then reports that the connection is of no more use.
func (cc *clientConn) giveUpLocked(c *Call) (abandoned bool) {
	if c.queued && !c.oneway && cc.out.Cancel(c.position) {
		c.queued = false
	}
	if !c.queued || c.oneway {
		cc.places.calls.take(c.seqID)
		return false
	}
	if mode(cc.mode.Load()) == modeShared {
		cc.places.calls.abandon(c.seqID, c.held)
		cc.cancelLocked(c.seqID)
		return false
	}
	cc.places.calls.take(c.seqID)
	return true
}

// fail ends the connection: every call in flight fails, once and at once. Only the first call of
// fail counts. It is called without locks.
func (cc *clientConn) fail(cause error) {
	cc.out.Close(cause)
	cc.mu.Lock()
	if !cc.life.die(cause) {
		cc.mu.Unlock()
		return
	}
	calls := cc.places.calls.takeAll()
	parked := calls[:0]
	for _, c := range calls {
		if cc.roles.settle(c, callFailed) {
			parked = append(parked, c)
		}
	}
	cc.places.load.Store(0)
	cc.places.late.Store(0)
	for _, t := range [...]*time.Timer{cc.life.linger, cc.places.rest, cc.cancels.timer} {
		cc.set.goroutines.stop(t)
	}
	if cc.life.halfClosed {
		cause = errDrained // whatever the cause was, no call is lost
	}
	cc.mu.Unlock()
	for _, c := range parked {
		c.wake <- struct{}{}
	}
	_ = cc.conn.Close() // wakes the reader and the flusher
	cc.set.forget(cc, cause)
}

// deathCause returns why the connection is dead; nil while it is not.
func (cc *clientConn) deathCause() error {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.life.cause
}

// waitForRoom waits, or fails, while more bytes are pending than may be.
func (cc *clientConn) waitForRoom(c *Call) error {
	for {
		room := cc.out.Full()
		if room == nil {
			return nil
		}
		if cc.set.config.Overload == FailFast {
			cc.set.counters.overloads.Add(1)
			return ErrOverloaded
		}
		if over := c.parkOn(room); over != nil {
			return over
		}
	}
}
