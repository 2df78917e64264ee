package mux

import (
	"math/rand/v2"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is how a connection finds out what its peer can. The first request carries a mark, and
// a peer that knows this package says hello as soon as it has read that request's header: within
// one round trip, whatever its handler does. Calls that find only connections of which that is not
// known wait for a hello. Where none comes within a grace the peer is likely to be a stock one, and
// they get connections of their own. A peer that has said hello before is likely to be slow
// instead. A connection whose peer says something else is handed over after its call (unshared.go).

const (
	// graceDials is how many times as long as its dial a hello is waited for, within these bounds.
	graceDials = 4
	minGrace   = 5 * time.Millisecond
	maxGrace   = 100 * time.Millisecond

	// minHelloGrace is the least grace of a hello: a server that has just started is slow.
	minHelloGrace = 20 * time.Millisecond

	// knownGrace is the grace of a hello where the last first frame was one. The peer is likely to
	// be busy, and more connections are the last thing that it needs.
	knownGrace = time.Second

	// mostKnown is how many times MaxConns connections such a peer gets while hellos are late.
	mostKnown = 4

	// mostDoublings bounds what a set without hellos may dial at a time: by then it is as much as
	// is configured.
	mostDoublings = 16
)

// answerGrace is how long an answer may take that needs no handler, on a connection whose dial took
// so long.
func answerGrace(dialTook time.Duration) time.Duration {
	return min(max(graceDials*dialTook, minGrace), maxGrace)
}

// helloGraceLocked returns how long cc's hello is waited for.
func (s *Set) helloGraceLocked(cc *clientConn) time.Duration {
	if s.peer == peerShared {
		return knownGrace
	}
	return max(cc.grace, minHelloGrace)
}

// mostNewLocked returns how many connections may be dialled, or wait for hellos, at a time.
func (s *Set) mostNewLocked() int {
	least := min(s.config.MaxConns, s.config.MaxUnshared)
	if s.peer == peerShared {
		return least * min(1<<s.doublings, mostKnown)
	}
	return least << s.doublings
}

// randomGeneration returns the generation that a connection's sequence IDs begin with. It is
// random, so that the mark of one connection is not taken for that of another, and not 0.
func randomGeneration() uint16 { return uint16(1 + rand.IntN(1<<16-1)) }

// limits is what a peer has announced, and this side's own limit where that is lower.
type limits struct {
	places int   // calls at a time
	fewer  bool  // that is what the peer has announced
	bytes  int64 // of requests that have no reply yet; 0: no limit
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

// places returns how many calls the connection may have at a time.
func (cc *clientConn) places() int {
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

// fitsPeer reports whether the peer is likely to have room for one more request, lateBytes being
// those of requests whose callers have gone. A request alone always fits.
func (cc *clientConn) fitsPeer(lateBytes int64) bool {
	if mode(cc.mode.Load()) != modeShared || cc.limits.bytes == 0 {
		return true
	}
	held, unsent := cc.held.Load()+lateBytes, int64(cc.unsent.Load())
	expected := (unsent + 1) * int64(frame.Weight(int(cc.typical.Load())))
	return held+unsent == 0 || held+expected <= cc.limits.bytes
}

// awaitHelloLocked has later calls wait for the hello that a call which begins will ask for.
func (cc *clientConn) awaitHelloLocked() {
	if mode(cc.mode.Load()) == modeProbing && !cc.marked && cc.set.trusting.Load() {
		cc.awaited.Store(true)
		cc.awaitedAt = time.Now()
	}
}

// sign puts into c's request what only a peer of this package understands: on a connection's first
// request the mark, and once the peer is known a flag for a oneway. It counts the bytes of a
// request that is to be answered. If a first request's header has no room for the mark, it goes
// without.
func (cc *clientConn) sign(c *Call, p frame.Prefix) error {
	if !c.oneway {
		c.held = int64(frame.Weight(c.request.Len()))
		cc.held.Add(c.held)
	}
	if mode(cc.mode.Load()) == modeShared {
		if c.oneway {
			return flagOneway(c.request)
		}
		return nil
	}
	cc.mu.Lock()
	c.marks = !cc.marked && mode(cc.mode.Load()) == modeProbing
	cc.marked = cc.marked || c.marks
	cc.mu.Unlock()
	switch {
	case !c.marks:
		return nil
	case !frame.HasRoomForMark(p):
		c.marks = false
		cc.goUnmarked()
		return nil
	}
	return frame.InsertMark(c.request, frame.Message{Frame: uint64(cc.set.config.MaxFrameBytes), Oneway: c.oneway})
}

// hasSigned reports whether the connection's first request was sent, or is about to be.
func (cc *clientConn) hasSigned() bool {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	return cc.marked
}

// goUnmarked leaves the connection to its first request, which has no mark, so that the peer will
// say no hello. What that can do is not known from this.
func (cc *clientConn) goUnmarked() {
	cc.mu.Lock()
	if mode(cc.mode.Load()) == modeProbing {
		cc.mode.Store(uint32(modeUnshared))
		cc.openLocked()
	}
	cc.awaited.Store(false)
	cc.mu.Unlock()
	s := cc.set
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countLocked(cc)
	s.publishLocked()
	s.serveLocked() // calls that waited for the hello have another connection dialled
}

// flagOneway sets the flag. The request is a copy of the caller's (SendOneway).
func flagOneway(request *buffer.LinkBuffer) error {
	start, err := request.Peek(frame.PrefixBytes)
	if err != nil {
		return err
	}
	frame.SetOneway(start)
	return nil
}

// unmarkLocked is called when the caller of c leaves. If the mark was not sent the next request has
// it.
func (cc *clientConn) unmarkLocked(c *Call) {
	if c.marks && !c.queued {
		cc.marked = false
	}
	if !cc.marked {
		cc.awaited.Store(false)
	}
}

// noteReply takes from a first reply that the peer is well, and from one without a hello before it
// that the peer is a stock one. Only the reader calls it.
func (cc *clientConn) noteReply() {
	if cc.replied.Load() {
		return
	}
	cc.replied.Store(true)
	if !cc.known {
		cc.learn(modeUnshared)
	}
	cc.set.recovered()
}

// learn takes from the first frame how the connection may be used. Only the reader calls it.
func (cc *clientConn) learn(m mode) {
	cc.known = true
	cc.mu.Lock()
	if mode(cc.mode.Load()) != modeProbing { // it has gone unmarked
		cc.mu.Unlock()
		return
	}
	cc.mode.Store(uint32(m))
	cc.openLocked()
	cc.awaited.Store(false)
	cc.mu.Unlock()
	if m == modeShared {
		cc.limitUnacknowledged()
	}
	cc.set.learn(cc, m)
}

// isLateLocked reports whether the grace is over in which cc's hello should have come, and
// otherwise how much of it is left. Without a hello that is expected neither is so.
func (s *Set) isLateLocked(cc *clientConn, now time.Time) (late bool, left time.Duration) {
	if !cc.awaited.Load() {
		return false, 0
	}
	cc.mu.Lock()
	defer cc.mu.Unlock()
	if !cc.awaited.Load() {
		return false, 0
	}
	left = cc.awaitedAt.Add(s.helloGraceLocked(cc)).Sub(now)
	if left > 0 {
		return false, left
	}
	return true, 0
}

// expectNoHello lets calls begin one at a time, as on a stock peer's connection: the grace is over.
func (cc *clientConn) expectNoHello() {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	cc.awaited.Store(false)
}

// expectNoHellosLocked is expectNoHello for all: the peer was last found to be a stock one.
func (s *Set) expectNoHellosLocked() {
	for _, cc := range *s.list.Load() {
		cc.expectNoHello()
	}
}

// probingLocked returns how many connections are used whose peers are not known.
func (s *Set) probingLocked() (n int) {
	for _, cc := range *s.list.Load() {
		if mode(cc.mode.Load()) == modeProbing && (cc.awaited.Load() || cc.load.Load() > 0) {
			n++
		}
	}
	return n
}

// planGraceLocked has the set look when the first grace is over of those that calls wait for.
func (s *Set) planGraceLocked() {
	if s.closed || s.waiters.Len() == 0 {
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
	if next < 0 || s.grace != nil && !due.Before(s.graceAt) {
		return
	}
	s.goroutines.stop(s.grace)
	s.grace, s.graceAt = s.goroutines.after(next, s.endGrace), due
}

// endGrace looks for hellos that should have come. Without them calls get connections of their own,
// twice as many as before: the peer is likely to be a stock one. If it was none at last they are
// few, until a first frame shows what it is.
func (s *Set) endGrace() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goroutines.stop(s.grace) // it is a later one, if this one was stopped too late
	s.grace = nil
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
	if missing && s.shared == 0 && s.waiters.Len() > 0 {
		s.doublings = min(s.doublings+1, mostDoublings)
		s.publishLocked()
	}
	s.serveLocked()
}
