package mux

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/conn"
)

// InfoKey is the key of the string info by which peers of this package recognise each other in a
// header. A Set removes it from replies, and a muxserver.Server from requests. Other readers of
// headers must ignore it.
const InfoKey = frame.InfoKey

// Set holds the connections to one address, and what is known about it.
//
// A connection's first request says that this side multiplexes. A peer that multiplexes too says so
// at once, in its first frame, and from then on the connection carries many calls at a time. If the
// first frame is another one, the connection carries only that call, and then goes to
// Config.Unshared. So neither side needs a switch.
//
// All methods may be called from any goroutine.
type Set struct {
	config Config // immutable, defaults filled in

	// atomic; changed with mu held
	list      atomic.Pointer[[]*clientConn] // shared and probing ones; the slice never changes
	canGrow   atomic.Bool                   // calls that find no idle one may have one dialed
	moreSoon  atomic.Bool                   // canGrow, or a connection is being dialed
	attentive atomic.Bool                   // upkeep looks soon enough for a frame that has begun
	trusting  atomic.Bool                   // calls wait for hellos: the peer is not peerUnshared

	goroutines group
	calls      sync.Pool // of *Call, in no use

	mu sync.Mutex // taken before clientConn.mu

	// guarded by mu
	closed  bool
	members members
	dials   dials
	backoff backoff
	hellos  hellos
	queue   queue // except its length, which is atomic
	upkeep  upkeepTimer

	counters counters // atomic, and apart from what every call reads
}

// members are the connections of a Set, and how many there are of each kind. A connection that is
// doubted counts as that beside its kind. One that drains is of no kind.
type members struct {
	conns    map[*clientConn]struct{} // all that are not dead
	active   int                      // of conns: those that are not draining
	shared   int                      // of active: those that are shared
	unshared int                      // of active: those that are not shared, and have a call
	doubted  int                      // of active: those that are doubted; others may be dialed
	apart    map[*conn.Conn]bool      // handed over, end not yet told; true: Unshared has returned
}

// standing is how a connection counts in its Set. It is shared or unshared or neither, and neither
// while it drains.
type standing struct {
	shared     bool // counts in members.shared
	unshared   bool // counts in members.unshared
	cutShort   bool // counted as a failure to get a connection
	retiring   bool // a replacement is being dialed
	closingsAt int  // backoff.closings when it joined the set
}

// open returns how many connections are open and not draining, including those handed over.
func (m *members) open() int { return m.active + len(m.apart) }

// work reports whether there is a shared connection that calls can use.
func (m *members) work() bool { return m.shared > m.doubted }

// NewSet returns a set without connections. Calls and WarmUp open them. The caller must close the
// set.
func NewSet(cfg Config) *Set {
	s := &Set{config: cfg.withDefaults()}
	s.members.conns, s.members.apart = make(map[*clientConn]struct{}), make(map[*conn.Conn]bool)
	s.setListLocked(nil)
	return s
}

// Begin finds a connection for a call and reserves a sequence ID on it. It takes a connection with
// nothing in flight, else the one with the fewest calls. When the limits leave no room, it waits or
// fails, as Config.Overload says. The call ends with the error of ctx when ctx is done, and with
// os.ErrDeadlineExceeded at deadline, unless that is zero. A caller that has only a time needs no
// context for it.
//
// The error is an *Error; then there is no Call to end.
func (s *Set) Begin(ctx context.Context, deadline time.Time) (*Call, error) {
	return s.BeginUnless(ctx, deadline, nil)
}

// BeginUnless is Begin for a caller that may get a connection elsewhere meanwhile, such as one that
// was given to Config.Unshared. A call that waits for a connection fails with ErrElsewhere once
// elsewhere is closed. If elsewhere is nil, BeginUnless is Begin.
func (s *Set) BeginUnless(ctx context.Context, deadline time.Time, elsewhere <-chan struct{}) (*Call, error) {
	return s.begin(ctx, deadline, elsewhere, false)
}

// BeginSoon is BeginUnless for a caller that has connections elsewhere but prefers not to use them.
// The call waits while connections are being opened, and fails with ErrElsewhere once none is.
func (s *Set) BeginSoon(ctx context.Context, deadline time.Time, elsewhere <-chan struct{}) (*Call, error) {
	return s.begin(ctx, deadline, elsewhere, true)
}

// begin is BeginSoon if soon is set, otherwise BeginUnless.
func (s *Set) begin(ctx context.Context, deadline time.Time, elsewhere <-chan struct{}, soon bool) (*Call, error) {
	c := s.newCall(ctx, deadline)
	if s.beginFast(c) {
		return c, nil
	}
	if err := s.beginSlow(c, elsewhere, soon); err != nil {
		c.conn = nil
		err = c.fail("begin", err)
		s.dropCall(c)
		return nil, err
	}
	return c, nil
}

// BeginShared is Begin for a caller that may have other connections to the address. It begins the
// call on a shared connection that has room now, and reports false if there is none, or if other
// calls wait. It does not wait, and does not look at ctx and deadline: Send and Receive do.
func (s *Set) BeginShared(ctx context.Context, deadline time.Time) (*Call, bool) {
	if s.queue.length.Load() > 0 {
		return nil, false
	}
	best, clogged := s.pick()
	if best == nil || clogged && s.moreSoon.Load() || mode(best.mode.Load()) != modeShared {
		return nil, false
	}
	c := s.newCall(ctx, deadline)
	if !s.beginOn(c, best) {
		s.dropCall(c)
		return nil, false
	}
	return c, true
}

// beginFast tries to begin c without the set's lock.
func (s *Set) beginFast(c *Call) bool {
	if s.queue.length.Load() > 0 {
		return false // waiting calls came first
	}
	best, clogged := s.pick()
	return best != nil && (!clogged || !s.moreSoon.Load()) && s.beginOn(c, best)
}

// beginOn begins c on best, the best connection found.
func (s *Set) beginOn(c *Call, best *clientConn) bool {
	if !best.begin(c) {
		return false
	}
	if best.places.load.Load() > 1 && s.canGrow.Load() {
		s.grow()
	}
	return true
}

// clogBytes is how much may be under way in either direction before a connection counts as clogged:
// a small frame would have to wait on it.
const clogBytes = 128 << 10

// pick returns the best connection that is shared or probing; nil if there is none. clogged says
// that all are clogged or suspect. pick looks at hints only: the connection may refuse.
func (s *Set) pick() (best *clientConn, clogged bool) {
	bestCost := int32(1<<31 - 1)
	awaited := false // the hello of a connection is awaited
	for _, cc := range *s.list.Load() {
		load := cc.places.load.Load()
		if cc.hello.awaited.Load() {
			awaited = true
			continue
		}
		if load+cc.places.late.Load() >= cc.places.most.Load() || cc.isFull() || !cc.fitsPeer(0) {
			continue
		}
		cost := cc.cost(load)
		if cost >= bestCost {
			continue
		}
		if load == 0 && !cc.conn.IsActive() {
			cc.watchNow() // reads why
			continue
		}
		if cost == 0 {
			return cc, false
		}
		best, bestCost = cc, cost
	}
	if best != nil && best.isToBeAwaited(awaited) {
		return nil, true
	}
	return best, bestCost >= mostInFlight
}

// cost says how much worse a connection with that many calls is than an idle one. A clogged or
// suspect one costs at least mostInFlight.
func (cc *clientConn) cost(load int32) int32 {
	cost := load + cc.places.late.Load()
	if cc.arrived.incoming.Load() > clogBytes || cc.out.Pending() > clogBytes {
		cost += mostInFlight
	}
	if trust(cc.trust.Load()) != trusted {
		cost += 2 * mostInFlight
	}
	return cost
}

// learn records what the first frame on cc said about the peer.
func (s *Set) learn(cc *clientConn, m mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hellos.doublings = 0
	s.hellos.peer = peerShared
	if m == modeUnshared {
		s.hellos.peer = peerUnshared
		s.expectNoHellosLocked()
	}
	s.countLocked(cc)
	s.publishLocked()
	s.serveLocked()
}

// countLocked counts a connection as what its first frame has made it. It is called when that frame
// has come, and when the connection joins the set, since a peer may speak first.
func (s *Set) countLocked(cc *clientConn) {
	if _, open := s.members.conns[cc]; !open || cc.isDraining() || cc.standing.shared || cc.standing.unshared {
		return
	}
	switch mode(cc.mode.Load()) {
	case modeShared:
		cc.standing.shared = true
		s.members.shared++
	case modeUnshared:
		cc.standing.unshared = true
		s.members.unshared++
		s.setListLocked(without(*s.list.Load(), cc))
	}
}

// CloseIfUnused closes the set if it is of no use to a call: it has no connection and dials none,
// all connections given to Config.Unshared have ended, no call waits, and the pause after the last
// failure is over. It reports whether the set is closed now. A call that begins afterwards fails
// with ErrClosed. CloseIfUnused does not wait for the set's goroutines: Close does, and must be
// called as well.
func (s *Set) CloseIfUnused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.members.conns)+len(s.members.apart) == 0 && s.dials.running == 0 && s.queue.waiters.Len() == 0 && s.backoff.pause == nil {
		s.closed = true
		s.publishLocked()
	}
	return s.closed
}

// Close ends all connections except those given to Config.Unshared. Calls in flight and calls that
// wait for a connection fail with ErrClosed. Close waits for the set's goroutines, including dials
// under way and calls of Config.Unshared. It always returns nil. Do not call it from Config.Dial or
// Config.Unshared.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed, s.members.apart = true, nil
	s.publishLocked()
	s.failWaitersLocked(ErrClosed)
	s.endDialLocked()
	open := make([]*clientConn, 0, len(s.members.conns))
	for cc := range s.members.conns {
		open = append(open, cc)
	}
	s.goroutines.stop(s.backoff.pause)
	s.goroutines.stop(s.upkeep.timer)
	s.goroutines.stop(s.hellos.grace)
	if s.dials.cancel != nil {
		s.dials.cancel()
	}
	s.mu.Unlock()
	for _, cc := range open {
		cc.fail(ErrClosed)
	}
	s.goroutines.wait()
	return nil
}
