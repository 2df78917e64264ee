package mux

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/mux/internal/pulse"
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

// typicalOf is about how many of the last requests the typical length averages.
const typicalOf = 4

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
	expireAt time.Time     // zero: never
	kickFunc func()        // kick, made once
	polled   bool          // a poller reports what comes: no watcher waits for it

	// written by the reader before mode is modeShared, and read once it is
	limits limits

	// atomic. The first five are changed with mu held, the next six by the reader, the next
	// four by callers, and the last with Set.mu held.
	mode     atomic.Uint32 // a mode
	most     atomic.Int32  // calls at a time: its places, or fewer after a refusal
	awaited  atomic.Bool   // no call begins: a hello is expected, and not late
	load     atomic.Int32  // calls in flight
	late     atomic.Int32  // replies still to come that no caller waits for
	replied  atomic.Bool   // a reply has come, which shows that the peer is well
	incoming atomic.Int64  // bytes of a large frame that are still to come
	progress atomic.Uint64 // frames read so far, and parts of large ones
	trickle  atomic.Uint64 // how often less than a part has come
	heardAt  atomic.Int64  // when something last came, in nanoseconds after born
	partial  atomic.Bool   // a frame has begun and not come whole
	unsent   atomic.Int32  // calls that have begun and not sent
	typical  atomic.Int64  // about the mean length of the last requests
	held     atomic.Int64  // bytes of requests that were sent and whose callers have not left
	oneways  atomic.Int64  // bytes of oneways sent so far, which get no reply
	trust    atomic.Uint32 // a trust

	// owned by the reader
	readDeadline time.Time    // the connection's read deadline, as last set
	prefix       frame.Prefix // of the frame that is being read or handled
	part         int          // bytes of a frame that had come at the last look
	skip         int64        // bytes still to come of a frame that is skipped
	large        bool         // a frame longer than frame.CopyBytes is in front, with cc.prefix
	known        bool         // a frame has come: mode is final
	answered     uint64       // replies given to calls
	wakeFirst    *Call        // must be woken, and wakes the others by turns; nil: none
	wakeLast     *Call        // the last of them
	pongAt       uint64       // the position of the last pong, if ponged
	ponged       bool

	// guarded by mu
	mu          sync.Mutex
	draining    bool          // takes no new calls; ends when the last one is over
	ending      bool          // the last call is over: finish was, or is about to be, called
	halfClosed  bool          // everything was written, and this side says so, or is about to
	linger      *time.Timer   // of the set's group: limits finish's wait; nil until ending
	cause       error         // why the connection is dead; nil while it is not
	died        chan struct{} // closed at death; nil unless its dial waits for that
	marked      bool          // a request with the mark was sent, or is about to be
	awaitedAt   time.Time     // since when a hello is expected, if it is
	calls       table
	onewaysRead int64  // of oneways, bytes that the peer is known to have read
	begun       uint64 // calls that were given a place so far
	users       int    // of them, those not ended: their callers may still use the connection
	lastOneway  uint32 // the last oneway's sequence ID, if it may be answered; else 0
	roles       roles
	throttle    throttle    // after a refusal
	rest        *time.Timer // of the set's group: has more calls tried; nil: none is due
	cancels     []uint32    // sequence IDs that the peer is to be told are no longer awaited
	cancelling  *time.Timer // of the set's group: sends cancels; nil: there are none

	// guarded by Set.mu
	shared     bool      // counts in Set.shared
	cutShort   bool      // counted as a failure to get a connection
	retiring   bool      // a replacement is being dialed
	unshared   bool      // counts in Set.unshared
	idleSince  time.Time // zero: it was not idle at the last look
	idleBegun  uint64    // begun then
	closingsAt int       // Set.closings when it joined the set
	lostAt     time.Time // when late replies were last counted; zero: they were few
	seen       uint64    // progress at the last look for a reader
	pulse      pulse.Pulse
	suspicion  pulse.Suspicion // active unless the connection is trusted
	pieces     pulse.Pieces
}

// newClientConn takes over a connection whose dial took that long.
func newClientConn(s *Set, c *conn.Conn, dialTook time.Duration) *clientConn {
	cc := &clientConn{set: s, conn: c, born: time.Now(), grace: answerGrace(dialTook)}
	cc.kickFunc = cc.kick
	cc.most.Store(1)
	if s.config.MaxAge > 0 {
		cc.expireAt = cc.born.Add(jitter(s.config.MaxAge, ageJitter))
	}
	cc.calls.generation = s.config.firstGeneration
	if cc.calls.generation == 0 {
		cc.calls.generation = randomGeneration()
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
	if cc.draining || cc.cause != nil || cc.awaited.Load() ||
		cc.calls.inFlight+cc.calls.late >= int(cc.most.Load()) || cc.isFull() || !cc.fitsPeer(cc.calls.lateBytes) {
		return false
	}
	id := cc.calls.put(c)
	if id == 0 {
		panic("mux: BUG: more calls than sequence IDs, of which there are more than places")
	}
	cc.load.Store(int32(cc.calls.inFlight))
	cc.awaitHelloLocked()
	cc.begun++
	cc.users++
	cc.unsent.Add(1)
	c.conn, c.seqID, c.state, c.unsent = cc, id, callOpen, true
	return true
}

// isFull reports whether as many bytes wait to be written as may. That includes what calls that
// have begun and not sent are likely to add: they hold that memory already, or soon will. Each of
// them calls sent later, which wakes the callers that wait because of it.
func (cc *clientConn) isFull() bool {
	expected := int64(cc.unsent.Load()) * cc.typical.Load()
	return expected+int64(cc.out.Pending()) > int64(cc.set.config.MaxPendingBytes)
}

// sent records that c's request was queued, or never will be.
func (cc *clientConn) sent(c *Call) {
	if !c.unsent {
		return
	}
	c.unsent = false
	cc.unsent.Add(-1)
	if c.size > 0 {
		typical := cc.typical.Load()
		cc.typical.Store(typical + (int64(c.size)-typical)/typicalOf)
	}
	cc.set.serveWaiters()
}

// company says whether other calls are in flight here. It may be slightly out of date.
func (cc *clientConn) company() output.Company {
	if cc.load.Load() > 1 {
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
	c := cc.calls.take(id)
	if c != nil || id == cc.lastOneway {
		cc.lastOneway = 0 // a peer that does not share answers in turn, and call by call
	}
	left := cc.calls.inFlight + cc.calls.late
	switch {
	case isForLater(e.reason):
		cc.throttle.refused(left)
		cc.planRestLocked()
		cc.openLocked()
	case cc.throttle.window > 0:
		cc.throttle.replied(left)
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
		cc.answered++
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
	cc.load.Store(int32(cc.calls.inFlight))
	if late := int32(cc.calls.late); late != cc.late.Load() {
		cc.late.Store(late)
	}
	end = cc.draining && !cc.ending && cc.calls.inFlight == 0 && cc.cause == nil
	cc.ending = cc.ending || end
	return end
}

// leave ends the part of a caller that is awake: with its reply, with an error, or because its time
// is over. A request that was not begun is taken back. For one that was begun, the caller's memory
// is no longer referred to.
func (cc *clientConn) leave(c *Call) {
	cc.sent(c)
	cc.mu.Lock()
	gone, answered := !c.state.isFinal(), c.state == callAnswered
	cc.noteReadLocked(c)
	next, do := cc.roles.depart(c)
	abandoned := gone && cc.giveUpLocked(c)
	cc.unmarkLocked(c)
	if c.held > 0 {
		cc.held.Add(-c.held)
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
	late := int(cc.late.Load())
	return late > 0 && 2*late >= cc.places()
}

// giveUpLocked frees the slot of a call that has no reply and no longer wants one, or keeps it for
// the late reply. On a connection that is not shared the next call would wait for that reply:
// giveUpLocked then reports that the connection is of no more use.
func (cc *clientConn) giveUpLocked(c *Call) (abandoned bool) {
	if c.queued && !c.oneway && cc.out.Cancel(c.position) {
		c.queued = false
	}
	if !c.queued || c.oneway {
		cc.calls.take(c.seqID)
		return false
	}
	if mode(cc.mode.Load()) == modeShared {
		cc.calls.abandon(c.seqID, c.held)
		cc.cancelLocked(c.seqID)
		return false
	}
	cc.calls.take(c.seqID)
	return true
}

// fail ends the connection: every call in flight fails, once and at once. Only the first call of
// fail counts. It is called without locks.
func (cc *clientConn) fail(cause error) {
	cc.out.Close(cause)
	cc.mu.Lock()
	if cc.cause != nil {
		cc.mu.Unlock()
		return
	}
	cc.cause = cause
	if cc.died != nil {
		close(cc.died)
	}
	calls := cc.calls.takeAll()
	parked := calls[:0]
	for _, c := range calls {
		if cc.roles.settle(c, callFailed) {
			parked = append(parked, c)
		}
	}
	cc.load.Store(0)
	cc.late.Store(0)
	for _, t := range [...]*time.Timer{cc.linger, cc.rest, cc.cancelling} {
		cc.set.goroutines.stop(t)
	}
	if cc.halfClosed {
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
	return cc.cause
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
