package mux

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is how a connection finds out what its peer can do. The first request carries a mark,
// and a peer that knows this package says hello as soon as it has read that request's header:
// within one round trip, whatever its handler does. Calls that find only connections whose peer is
// not known yet wait for a hello. If none comes within a grace, the peer is likely to be a stock
// one, and the calls get connections of their own; a peer that has said hello before is likely to
// be slow instead. A connection whose peer says something else is handed over after its call
// (unshared.go).

const (
	// graceDials is how many times its dial's time a hello is waited for, within these bounds.
	graceDials = 4
	minGrace   = 5 * time.Millisecond
	maxGrace   = 100 * time.Millisecond

	// minHelloGrace is the least grace of a hello: a server that has just started is slow.
	minHelloGrace = 20 * time.Millisecond

	// knownGrace is the grace of a hello if the last first frame was a hello. The peer is likely to
	// be busy then, and more connections are the last thing that it needs.
	knownGrace = time.Second

	// mostKnown is how many times MaxConns connections such a peer gets while hellos are late.
	mostKnown = 4

	// mostDoublings bounds what a set without hellos may dial at one time: by then that is as much
	// as is configured.
	mostDoublings = 16
)

// hello is what a connection knows of its peer's hello. While the hello is awaited, the mark was
// sent, or is about to be, and no frame has come.
type hello struct {
	known   bool        // a frame has come: mode is final; owned by the reader
	awaited atomic.Bool // no call begins: a hello is expected, and not late
	replied atomic.Bool // a reply has come, which shows that the peer is well; set by the reader

	// guarded by the connection's mu, as changes of awaited are
	marked bool          // a request with the mark was sent, or is about to be
	since  time.Duration // since what age of the connection a hello is expected, if it is
}

// hellos is what a Set knows of its peer, and how long it waits for hellos.
type hellos struct {
	peer      peer
	grace     *time.Timer // non-nil while calls wait for a hello: fires when it is late
	graceAt   time.Time   // when grace is due
	doublings int         // how often hellos were late since a first frame came
}

// peer is what is known about an address. The kind of the last first frame hints at how many
// connections to open; how a connection is used depends on its own first frame.
type peer uint8

const (
	peerUnknown  peer = iota // no reply yet
	peerShared               // it multiplexes
	peerUnshared             // it does not
)

// String returns the peer's name.
func (p peer) String() string { return [...]string{"unknown", "shared", "unshared"}[p] }

// answerGrace is how long an answer that needs no handler may take on a connection whose dial took
// that long.
func answerGrace(dialTook time.Duration) time.Duration {
	return min(max(graceDials*dialTook, minGrace), maxGrace)
}

// helloGraceLocked returns how long cc's hello is waited for.
func (s *Set) helloGraceLocked(cc *clientConn) time.Duration {
	if s.hellos.peer == peerShared {
		return knownGrace
	}
	return max(cc.grace, minHelloGrace)
}

// mostNewLocked returns how many connections may be dialed or wait for hellos at one time.
func (s *Set) mostNewLocked() int {
	least := min(s.config.MaxConns, s.config.MaxUnshared)
	if s.hellos.peer == peerShared {
		return least * min(1<<s.hellos.doublings, mostKnown)
	}
	return least << s.hellos.doublings
}

// randomGeneration returns the generation with which a connection's sequence IDs begin. It is
// random, so that one connection's mark is not taken for another's, and never 0.
func randomGeneration() uint16 { return uint16(1 + rand.IntN(1<<16-1)) }

// limits is what a peer has announced, or this side's own limit where that is lower.
type limits struct {
	places int   // calls at a time
	fewer  bool  // places is what the peer has announced
	bytes  int64 // of requests without a reply; 0: no limit
	frame  int   // the longest request
}

// limitsOf takes the limits from a hello.
func (c *Config) limitsOf(hello frame.Message) limits {
	l := limits{places: c.MaxInFlight, frame: c.MaxFrameBytes}
	if hello.Places > 0 {
		l.fewer = int64(hello.Places) <= int64(l.places)
		l.places = int(min(int64(hello.Places), int64(l.places)))
	}
	if hello.Frame > 0 {
		l.frame = int(min(hello.Frame, uint64(l.frame)))
	}
	l.bytes = int64(min(hello.Bytes, 1<<62))
	return l
}

// mostPlaces returns how many calls the connection may have at a time.
func (cc *clientConn) mostPlaces() int {
	switch mode(cc.mode.Load()) {
	case modeShared:
		return cc.limits.places
	case modeUnshared:
		return 0 // it has had its call
	}
	return 1
}

// longestRequest returns how long a request may be.
func (cc *clientConn) longestRequest() int {
	if mode(cc.mode.Load()) == modeShared {
		return cc.limits.frame
	}
	return cc.set.config.MaxFrameBytes
}

// fitsPeer reports whether the peer is likely to have room for one more request. lateBytes is the
// bytes of requests whose callers have gone. A request alone always fits.
func (cc *clientConn) fitsPeer(lateBytes int64) bool {
	if mode(cc.mode.Load()) != modeShared || cc.limits.bytes == 0 {
		return true
	}
	return cc.requests.fits(cc.limits.bytes, lateBytes)
}

// awaitHelloLocked makes later calls wait for the hello that the beginning call will ask for.
func (cc *clientConn) awaitHelloLocked() {
	if mode(cc.mode.Load()) == modeProbing && !cc.hello.marked && cc.set.trusting.Load() {
		cc.hello.awaited.Store(true)
		cc.hello.since = time.Since(cc.born)
	}
}

// sign puts into c's request what only a peer of this package understands: the mark on a
// connection's first request, and once the peer is known the flag of a oneway. It counts the bytes
// of a request that has a reply. A first request whose header has no room for the mark goes without
// it.
func (cc *clientConn) sign(c *Call, p frame.Prefix) error {
	if !c.oneway {
		c.held = int64(frame.Weight(c.request.Len()))
		cc.requests.held.Add(c.held)
	}
	if mode(cc.mode.Load()) == modeShared {
		if c.oneway {
			return flagOneway(c.request)
		}
		return nil
	}
	cc.mu.Lock()
	c.marks = !cc.hello.marked && mode(cc.mode.Load()) == modeProbing
	cc.hello.marked = cc.hello.marked || c.marks
	cc.mu.Unlock()
	switch {
	case !c.marks:
		return nil
	case !frame.HasRoomForMark(p):
		c.marks = false
		cc.goUnmarked()
		return nil
	}
	return ofFrame(frame.InsertMark(c.request, frame.Message{Frame: uint64(cc.set.config.MaxFrameBytes), Oneway: c.oneway}))
}

// hasSigned reports whether the connection's first request was sent, or is about to be.
func (cc *clientConn) hasSigned() bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.hello.marked
}

// goUnmarked leaves the connection to its first request, which has no mark, so that the peer will
// not say hello. What the peer can do stays unknown.
func (cc *clientConn) goUnmarked() {
	cc.mu.Lock()
	if mode(cc.mode.Load()) == modeProbing {
		cc.mode.Store(uint32(modeUnshared))
		cc.openLocked()
	}
	cc.hello.awaited.Store(false)
	cc.mu.Unlock()
	s := cc.set
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countLocked(cc)
	s.publishLocked()
	s.serveLocked() // for calls that waited for the hello it dials another connection
}

// flagOneway sets the oneway flag. The request is a copy of the caller's (SendOneway).
func flagOneway(request *buffer.LinkBuffer) error {
	start, err := request.Peek(frame.PrefixBytes)
	if err != nil {
		return err
	}
	frame.SetOneway(start)
	return nil
}

// unmarkLocked is called when the caller of c leaves. If the mark was not sent, the next request
// carries it.
func (cc *clientConn) unmarkLocked(c *Call) {
	if c.marks && !c.queued {
		cc.hello.marked = false
	}
	if !cc.hello.marked {
		cc.hello.awaited.Store(false)
	}
}

// noteReply learns from a first reply that the peer is well, and, if no hello came before it, that
// the peer is a stock one. Only the reader calls it.
func (cc *clientConn) noteReply() {
	if cc.hello.replied.Load() {
		return
	}
	cc.hello.replied.Store(true)
	if !cc.hello.known {
		cc.learn(modeUnshared)
	}
	cc.set.recovered()
}

// learn learns from the first frame how the connection may be used. Only the reader calls it.
func (cc *clientConn) learn(m mode) {
	cc.hello.known = true
	cc.mu.Lock()
	if mode(cc.mode.Load()) != modeProbing { // it has gone unmarked
		cc.mu.Unlock()
		return
	}
	cc.mode.Store(uint32(m))
	cc.openLocked()
	cc.hello.awaited.Store(false)
	cc.mu.Unlock()
	if m == modeShared {
		cc.limitUnacknowledged()
	}
	cc.set.learn(cc, m)
}

// isLateLocked reports whether cc's hello is later than its grace, and otherwise how much of the
// grace is left. If no hello is expected both are zero.
func (s *Set) isLateLocked(cc *clientConn, now time.Time) (late bool, left time.Duration) {
	if !cc.hello.awaited.Load() {
		return false, 0
	}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if !cc.hello.awaited.Load() {
		return false, 0
	}
	left = cc.hello.since + s.helloGraceLocked(cc) - now.Sub(cc.born)
	if left > 0 {
		return false, left
	}
	return true, 0
}

// expectNoHello lets calls begin one at a time, as on a stock peer's connection: the grace is over.
func (cc *clientConn) expectNoHello() {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.hello.awaited.Store(false)
}

// expectNoHellosLocked is expectNoHello for all connections: the last first frame was a stock
// peer's.
func (s *Set) expectNoHellosLocked() {
	for _, cc := range *s.list.Load() {
		cc.expectNoHello()
	}
}

// probingLocked returns how many connections in use have peers that are not known yet.
func (s *Set) probingLocked() (n int) {
	for _, cc := range *s.list.Load() {
		if mode(cc.mode.Load()) == modeProbing && (cc.hello.awaited.Load() || cc.places.load.Load() > 0) {
			n++
		}
	}
	return n
}

// planGraceLocked has the set look when the first grace ends of the hellos that calls wait for.
func (s *Set) planGraceLocked() {
	if s.closed || s.queue.waiters.Len() == 0 {
		return
	}
	now := time.Now()
	next := time.Duration(-1)
	for _, cc := range *s.list.Load() {
		switch late, left := s.isLateLocked(cc, now); {
		case late:
			next = 0
		case left > 0 && (next < 0 || left < next):
			next = left
		}
	}
	due := now.Add(next)
	if next < 0 || s.hellos.grace != nil && !due.Before(s.hellos.graceAt) {
		return
	}
	s.goroutines.stop(s.hellos.grace)
	s.hellos.grace, s.hellos.graceAt = s.goroutines.after(next, s.endGrace), due
}

// endGrace looks for hellos that should have come. If one is missing, calls get connections of
// their own, twice as many as before: the peer is likely to be a stock one. If the last first frame
// was a hello these stay few, until a first frame shows what the peer is now.
func (s *Set) endGrace() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goroutines.stop(s.hellos.grace) // it is a later one, if this one was stopped too late
	s.hellos.grace = nil
	if s.closed {
		return
	}
	now := time.Now()
	missing := false
	for _, cc := range *s.list.Load() {
		if late, _ := s.isLateLocked(cc, now); late {
			cc.expectNoHello()
			missing = true
		}
	}
	if missing && s.members.shared == 0 && s.queue.waiters.Len() > 0 {
		s.hellos.doublings = min(s.hellos.doublings+1, mostDoublings)
		s.publishLocked()
	}
	s.serveLocked()
}
