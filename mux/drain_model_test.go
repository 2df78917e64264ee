package mux

import (
	"fmt"
	"testing"
)

// This file is a model of a connection's life: how the two sides get to know each other; how a
// server that shuts down, or a set that wants to be rid of a connection, ends it without failing a
// call; and how each request gets one answer, even if it was refused or its caller has left. Both
// ends are as drain.go, clientconn.go, cancel.go, output.go and package muxserver's drain.go,
// refuse.go and cancel.go have them, in steps between which anything else may happen, with the
// frames on their way. explore goes through all interleavings.

// drainConfig says what happens to the connection of the model, at any time.
type drainConfig struct {
	calls      int  // with a reply
	oneways    int  // and without
	cancels    bool // a caller may leave before its reply has come
	refuses    bool // the server may have no room for a request
	known      bool // both sides know from the beginning what the other can
	late       bool // the client may lose patience with the hello
	shuts      bool // the server shuts down
	ends       bool // and its time is over before all handlers have ended
	hangs      bool // the handler of the first call waits for its caller to leave
	clientEnds bool // the set drains it as well

	fault drainFault
}

// drainFault is a mistake in the protocol, to see that the model finds it.
type drainFault uint8

const (
	drainWhole          drainFault = iota
	drainEndsUnflushed             // the client closes its half before all was written
	drainIdleForgotten             // a drain of a connection without calls does not end it
	drainBegins                    // calls begin on a connection that drains
	drainSaysTwice                 // the server does not remember that it has said so
	drainMeetsLate                 // the server does not look again when it gets to know the client
	drainClosesBoth                // the client closes both halves at once
	helloWithReply                 // the server says hello with the first reply
	helloAfterMark                 // the server marks the client before it has said hello
	helloEachTime                  // the server says hello to each request
	helloIgnored                   // the client goes on with one call at a time
	refusedTooLate                 // the server refuses a request that it handles
	refusedOneway                  // the server refuses oneways as well
	cancelledUnanswered            // the server says nothing when a call that was cancelled is over
	cancelledTwice                 // the server answers a cancel at once, and again at the end
	cancelUnsent                   // the client cancels an unsent request, and keeps its slot
	cancelFrees                    // the client frees the slot of a call whose caller has left
	cancelNever                    // the client does not tell of callers that have left
	cancelAtEnd                    // it closes its half before it tells
	endsUntold                     // the server ends without refusing calls that have not begun
	endsRefusingAll                // it refuses running calls as if they had not begun
	endsOneways                    // it drops oneways at its end
)

// frameKind is a frame on its way.
type frameKind uint8

const (
	noFrame frameKind = iota
	requestFrame1
	requestFrame2
	requestFrame3
	replyFrame1
	replyFrame2
	replyFrame3
	refusedFrame1
	refusedFrame2
	refusedFrame3
	cancelFrame1
	cancelFrame2
	cancelFrame3
	helloFrame
	drainFrame
	endOfStream
)

// wire is one direction, in order.
type wire [8]frameKind

func (w *wire) push(k frameKind) {
	for i := range w {
		if w[i] == noFrame {
			w[i] = k
			return
		}
	}
	panic("the wire is full")
}

func (w *wire) pop() frameKind {
	k := w[0]
	copy(w[:], w[1:])
	w[len(w)-1] = noFrame
	return k
}

// drainCall says where a call of the model is.
type drainCall uint8

const (
	drainCallIdle     drainCall = iota
	drainCallBegun              // it has a slot
	drainCallQueued             // its frame is in the output or further
	drainCallAnswered           // final
	drainCallOver               // final: a oneway that was sent, or a call whose caller has left
	drainCallElse               // final: it takes another connection
	drainCallFailed             // final: the connection died
)

const drainCalls = 3

// drainState is the whole state.
type drainState struct {
	calls [drainCalls]drainCall

	// the client
	draining, ending, dead, halfClosed bool
	inFlight                           uint8
	clientKnows                        bool             // the hello has come
	asked                              bool             // a hello is expected: no call begins
	sentMark, marksLeft                bool             // a request has it; and has left the output
	queue                              wire             // the output
	slots                              [drainCalls]bool // of written requests that want an answer
	leaving                            [drainCalls]bool // its caller has left, the peer is not told
	afterFlush                         bool             // finish waits for it to be written
	lingering                          bool

	toServer, toClient wire

	// the server
	met, greeted, marked, draining2, snapshot, said, closed, eof bool
	saidTimes                                                    uint8
	going                                                        bool // no call begins
	handling, cancelled                                          [drainCalls]bool
	// only where the server's time may be over
	running [drainCalls]bool
	handled [drainCalls]uint8
}

// drainModel explores.
type drainModel struct {
	drainConfig
	states []drainState
	from   []int
	index  map[drainState]bool
	quiet  int

	others bool // the step is up to a handler, or to a caller that leaves
}

func (m *drainModel) total() int { return m.calls + m.oneways }

func (m *drainModel) isOneway(i int) bool { return i >= m.calls }

// explore returns what is wrong, with the states that led there.
func (m *drainModel) explore() (broken string, trace []drainState) {
	m.index = map[drainState]bool{}
	m.add(drainState{clientKnows: m.known, met: m.known, greeted: m.known, marked: m.known}, -1)
	for i := 0; i < len(m.states); i++ {
		if broken = m.expand(i); broken != "" {
			for ; i >= 0; i = m.from[i] {
				trace = append(trace, m.states[i])
			}
			return broken, trace
		}
	}
	return "", nil
}

func (m *drainModel) add(s drainState, from int) {
	if !m.index[s] {
		m.index[s] = true
		m.states, m.from = append(m.states, s), append(m.from, from)
	}
}

func (m *drainModel) expand(i int) (broken string) {
	defer func() {
		if v := recover(); v != nil {
			broken = fmt.Sprint(v)
		}
	}()
	s := m.states[i]
	moved, movedAlone := false, false // movedAlone: without others
	try := func(enabled bool, step func(s *drainState)) {
		if enabled {
			next := s
			step(&next)
			m.add(next, i)
			moved = true
			movedAlone = movedAlone || !m.others
		}
	}
	m.callers(s, try)
	m.client(s, try)
	m.server(s, try)
	if !moved {
		m.quiet++
		m.checkRest(s)
	}
	if !movedAlone {
		m.checkHandlers(s)
		m.end(s, try) // there is time for everything except handlers
	}
	// What may happen and may not.
	try(m.late && s.asked && !s.dead, func(s *drainState) { s.asked = false }) // the grace is over
	try(m.clientEnds && !s.draining && !s.dead, m.drainClient)
	try(s.lingering && !s.dead, func(s *drainState) { m.fail(s) }) // lingerTime is over
	return ""
}

// checkHandlers checks a state in which nothing goes on except handlers.
func (m *drainModel) checkHandlers(s drainState) {
	for i := range m.total() {
		if s.calls[i] == drainCallIdle {
			panic(fmt.Sprintf("call %d waits for the handler of another one", i))
		}
	}
}

// checkRest checks a state in which nothing goes on any longer.
func (m *drainModel) checkRest(s drainState) {
	for i := range m.total() {
		switch c := s.calls[i]; {
		case c < drainCallAnswered:
			panic(fmt.Sprintf("call %d never ends", i))
		case m.isOneway(i) && c == drainCallOver && s.handled[i] != 1:
			panic(fmt.Sprintf("oneway %d was handled %d times", i, s.handled[i]))
		case s.slots[i] && !s.dead:
			panic(fmt.Sprintf("request %d is never answered", i))
		case c == drainCallElse && s.handled[i] != 0:
			panic(fmt.Sprintf("call %d took another connection and was handled on this one", i))
		case s.handling[i]:
			panic(fmt.Sprintf("the handler of call %d is never told that its caller has left", i))
		}
	}
	if m.shuts && (!s.dead || !s.closed) {
		panic("the shutdown never ends")
	}
	if s.draining && !s.dead {
		panic("a drained connection never ends")
	}
}

// callers are the steps of callers.
func (m *drainModel) callers(s drainState, try func(bool, func(*drainState))) {
	for i := range m.total() {
		request := requestFrame1 + frameKind(i)
		over := s.dead || s.draining && m.fault != drainBegins
		try(s.calls[i] == drainCallIdle && over, func(s *drainState) { s.calls[i] = drainCallElse })
		// Before the hello there is one call, and when the hello is late there is one at a time.
		room := s.clientKnows && (m.fault != helloIgnored || s.inFlight == 0) || s.inFlight == 0 && !s.asked
		try(s.calls[i] == drainCallIdle && !over && room, func(s *drainState) {
			s.calls[i] = drainCallBegun
			s.asked = s.asked || !s.clientKnows && !s.sentMark
			s.inFlight++
		})
		try(s.calls[i] == drainCallBegun, func(s *drainState) {
			s.queue.push(request)
			s.calls[i] = drainCallQueued
			s.sentMark = true
			s.slots[i] = !m.isOneway(i)
			if m.isOneway(i) {
				s.calls[i] = drainCallOver
				m.freed(s)
			}
		})
		m.others = true
		try(m.cancels && s.calls[i] == drainCallQueued, func(s *drainState) {
			unsent := m.fault != cancelUnsent && s.queue.remove(request)
			s.calls[i] = drainCallOver
			s.slots[i] = s.slots[i] && !unsent && m.fault != cancelFrees
			s.leaving[i] = s.clientKnows && !unsent && m.fault != cancelNever
			if m.fault == cancelUnsent {
				s.queue.remove(request)
			}
			m.freed(s)
			switch {
			case s.clientKnows:
			case unsent: // and with it the mark, or a request behind it
				s.sentMark = s.marksLeft
				s.asked = s.asked && s.sentMark
			default:
				m.fail(s) // the next call would wait for this one's reply
			}
		})
		m.others = false
	}
}

func (w *wire) remove(k frameKind) bool {
	for i := range w {
		if w[i] == k {
			copy(w[i:], w[i+1:])
			w[len(w)-1] = noFrame
			return true
		}
	}
	return false
}

// freed is clientConn.freedLocked, and finish.
func (m *drainModel) freed(s *drainState) {
	s.inFlight--
	m.endIfOver(s)
}

func (m *drainModel) endIfOver(s *drainState) {
	if s.draining && !s.ending && s.inFlight == 0 && !s.dead {
		s.ending = true
		if m.fault != cancelAtEnd {
			m.sendCancels(s)
		}
		s.afterFlush = true
	}
}

// sendCancels is clientConn.sendCancels.
func (m *drainModel) sendCancels(s *drainState) {
	for i := range m.total() {
		if s.leaving[i] && (s.slots[i] || m.fault == cancelFrees) && !s.halfClosed {
			s.queue.push(cancelFrame1 + frameKind(i))
		}
		s.leaving[i] = false
	}
}

// drainClient is Set.drain.
func (m *drainModel) drainClient(s *drainState) {
	if s.draining || s.dead {
		return
	}
	s.draining = true
	if m.fault != drainIdleForgotten {
		m.endIfOver(s)
	}
}

// fail is clientConn.fail.
func (m *drainModel) fail(s *drainState) {
	if s.dead {
		return
	}
	s.dead, s.lingering, s.afterFlush = true, false, false
	s.queue, s.leaving = wire{}, [drainCalls]bool{}
	for i, c := range s.calls {
		if c == drainCallBegun || c == drainCallQueued {
			s.calls[i] = drainCallFailed
			if s.marked && !s.going {
				panic(fmt.Sprintf("call %d fails on a connection that is drained", i))
			}
			if s.marked && s.handled[i] == 0 {
				panic(fmt.Sprintf("call %d fails as if it had begun", i))
			}
		}
	}
	if !s.halfClosed {
		s.halfClosed = true
		s.toServer.push(endOfStream)
	}
}

// client has the steps of the client's flusher and reader.
func (m *drainModel) client(s drainState, try func(bool, func(*drainState))) {
	try(!s.dead && s.queue[0] != noFrame, func(s *drainState) {
		k := s.queue.pop()
		if s.halfClosed {
			panic("a frame is written after the client has closed its half")
		}
		s.marksLeft = true
		s.toServer.push(k)
	})
	try(!s.dead && s.leaving != [drainCalls]bool{}, m.sendCancels) // cancelDelay is over
	flushed := s.queue[0] == noFrame || m.fault == drainEndsUnflushed
	try(!s.dead && s.afterFlush && flushed && !s.halfClosed, func(s *drainState) {
		s.afterFlush, s.halfClosed = false, true
		s.toServer.push(endOfStream)
		if m.fault == drainClosesBoth {
			if s.toClient[0] != noFrame { // TCP answers by a RST, which destroys what was not read
				s.toServer = wire{endOfStream}
			}
			m.fail(s)
			return
		}
		s.lingering = true
	})
	try(!s.dead && s.toClient[0] != noFrame, func(s *drainState) {
		k := s.toClient.pop()
		if !s.clientKnows && k != helloFrame && k != endOfStream {
			panic("a client gets something before the hello")
		}
		switch k {
		case helloFrame:
			if s.clientKnows {
				panic("a client gets two hellos")
			}
			s.clientKnows, s.asked = true, false
		case drainFrame:
			m.drainClient(s)
		case endOfStream:
			m.fail(s)
		default:
			end, i := drainCallAnswered, int(k-replyFrame1)
			if k >= refusedFrame1 {
				end, i = drainCallElse, int(k-refusedFrame1)
			}
			if !s.slots[i] {
				panic(fmt.Sprintf("request %d is answered twice, or was not made", i))
			}
			s.slots[i] = false
			if s.calls[i] == drainCallQueued {
				s.calls[i] = end
				m.freed(s)
			}
		}
	})
}

// server has the steps of the server's reader, its handlers and Shutdown.
func (m *drainModel) server(s drainState, try func(bool, func(*drainState))) {
	reads := !s.closed && !s.eof && s.toServer[0] != noFrame
	ends := s.toServer[0] == endOfStream
	try(reads && !s.met && !ends, m.meet) // the first header has come, and not yet what follows it
	try(reads && (s.met || ends), func(s *drainState) {
		switch k := s.toServer.pop(); {
		case k == endOfStream:
			s.eof = true
			m.checkTold(s)
		case k >= cancelFrame1:
			m.cancel(s, int(k-cancelFrame1))
		default:
			m.read(s, int(k-requestFrame1))
			if m.fault == helloEachTime {
				m.greet(s)
			}
		}
	})
	first := s.toServer[0]
	request := first >= requestFrame1 && first <= requestFrame3 &&
		(!m.isOneway(int(first-requestFrame1)) || m.fault == refusedOneway)
	try(m.refuses && reads && s.met && request, func(s *drainState) { // there is no room for it
		i := int(s.toServer.pop() - requestFrame1)
		m.answer(s, refusedFrame1+frameKind(i))
		s.handling[i] = m.fault == refusedTooLate
	})
	try(m.fault == helloAfterMark && s.met && !s.greeted, m.greet)
	m.others = true
	for i := range m.total() {
		begins := !s.going || m.isOneway(i)
		ends := !m.hangs || i > 0 || s.cancelled[i] || s.eof || s.closed
		try(!m.ends && s.handling[i] && begins && ends, func(s *drainState) {
			m.begin(s, i)
			m.reply(s, i)
		})
		try(m.ends && s.handling[i] && begins, func(s *drainState) {
			m.begin(s, i)
			s.running[i] = true
		})
		try(s.running[i] && ends, func(s *drainState) {
			s.running[i] = false
			m.reply(s, i)
		})
		try(s.handling[i] && s.cancelled[i], func(s *drainState) { // it had not begun
			s.handling[i] = false
			m.answer(s, refusedFrame1+frameKind(i))
		})
	}
	m.others = false
	for i := range m.total() {
		waits := s.handling[i] || s.running[i] && m.fault == endsRefusingAll
		try(s.going && !s.closed && waits && (!m.isOneway(i) || m.fault == endsOneways), func(s *drainState) {
			s.handling[i] = false
			m.answer(s, refusedFrame1+frameKind(i))
		})
	}
	try(m.ends && s.snapshot && !s.going && m.fault != endsUntold, func(s *drainState) { s.going = true })
	calm := s.handling == [drainCalls]bool{} && s.running == [drainCalls]bool{}
	try(!s.closed && s.eof && calm, func(s *drainState) {
		s.closed = true
		s.toClient.push(endOfStream)
	})
	try(m.shuts && !s.draining2, func(s *drainState) { s.draining2 = true })
	try(s.draining2 && !s.snapshot, func(s *drainState) { s.snapshot = true; m.say(s) })
	if m.fault == drainSaysTwice && s.snapshot && s.saidTimes == 1 {
		try(true, m.say)
	}
	// The grace for unmarked clients is over, and nothing of this one is under way.
	idle := s.queue == wire{} && s.toServer == wire{} && s.inFlight == 0
	try(s.snapshot && !s.marked && !s.closed && calm && idle, func(s *drainState) {
		s.closed = true
		s.toClient.push(endOfStream)
	})
}

// read takes a request that has room.
func (m *drainModel) read(s *drainState, i int) {
	if s.going && !m.isOneway(i) {
		m.answer(s, refusedFrame1+frameKind(i))
		return
	}
	s.handling[i] = true
}

// begin and reply are what a handler does.
func (m *drainModel) begin(s *drainState, i int) {
	s.handling[i] = false
	if !s.greeted {
		m.greet(s)
	}
	if s.handled[i]++; s.handled[i] > 1 {
		panic(fmt.Sprintf("call %d was handled twice", i))
	}
}

func (m *drainModel) reply(s *drainState, i int) {
	switch {
	case m.isOneway(i), m.fault == refusedTooLate, s.cancelled[i] && m.fault == cancelledUnanswered:
	case s.cancelled[i]:
		m.answer(s, refusedFrame1+frameKind(i))
	default:
		m.answer(s, replyFrame1+frameKind(i))
	}
}

// end is the end of a shutdown's time: running handlers go on, and their replies reach nobody.
func (m *drainModel) end(s drainState, try func(bool, func(*drainState))) {
	try(m.ends && (s.going || m.fault == endsUntold && s.snapshot) && !s.closed, func(s *drainState) {
		s.going, s.closed = true, true
		s.toClient.push(endOfStream)
	})
}

// checkTold checks that a client that has closed its half has told of all callers that have left.
func (m *drainModel) checkTold(s *drainState) {
	for i := range m.total() {
		if s.slots[i] && s.calls[i] == drainCallOver && (s.handling[i] || s.running[i]) && !s.cancelled[i] && !s.dead {
			panic(fmt.Sprintf("the client goes and has not said that the caller of %d has left", i))
		}
	}
}

// cancel is muxserver.Conn.cancel.
func (m *drainModel) cancel(s *drainState, i int) {
	if !s.handling[i] && !s.running[i] {
		return // it was answered
	}
	s.cancelled[i] = true
	if m.fault == cancelledTwice {
		m.answer(s, refusedFrame1+frameKind(i))
	}
}

// answer says what has become of a request.
func (m *drainModel) answer(s *drainState, k frameKind) {
	if !s.closed {
		s.toClient.push(k)
	}
}

// meet is muxserver.Conn.meet.
func (m *drainModel) meet(s *drainState) {
	s.met, s.marked = true, true
	if m.fault != helloWithReply && m.fault != helloAfterMark {
		m.greet(s)
	}
	if m.fault != drainMeetsLate {
		m.say(s)
	}
}

// greet says hello.
func (m *drainModel) greet(s *drainState) {
	s.greeted = true
	if !s.closed {
		s.toClient.push(helloFrame)
	}
}

// say is muxserver.Conn.drain for a client that understands it.
func (m *drainModel) say(s *drainState) {
	if !s.marked || !s.draining2 || s.said && m.fault != drainSaysTwice || s.closed {
		return
	}
	s.said = true
	if s.saidTimes++; s.saidTimes > 1 {
		panic("the server tells a client twice")
	}
	s.toClient.push(drainFrame)
}

// drainConfigs are what can happen, in groups small enough to be explored.
var drainConfigs = map[string]drainConfig{
	"shutdown":                        {calls: 3, known: true, shuts: true},
	"shutdown, cancelled calls":       {calls: 2, known: true, shuts: true, cancels: true},
	"shutdown, oneways":               {calls: 1, oneways: 2, known: true, shuts: true, cancels: true},
	"shutdown at first":               {calls: 3, shuts: true, cancels: true},
	"hello":                           {calls: 2, oneways: 1, cancels: true},
	"a late hello":                    {calls: 3, shuts: true, cancels: true, late: true},
	"the set drains":                  {calls: 3, known: true, clientEnds: true, cancels: true},
	"refusals":                        {calls: 2, oneways: 1, known: true, refuses: true, cancels: true},
	"refusals at first":               {calls: 3, refuses: true, shuts: true},
	"shutdown, refusals":              {calls: 2, known: true, shuts: true, refuses: true, cancels: true},
	"both drain":                      {calls: 2, oneways: 1, known: true, shuts: true, clientEnds: true, cancels: true},
	"callers who leave":               {calls: 2, oneways: 1, known: true, hangs: true, cancels: true, clientEnds: true},
	"callers of a server that ends":   {calls: 2, known: true, hangs: true, cancels: true, shuts: true, ends: true},
	"a shutdown out of time":          {calls: 2, oneways: 1, known: true, shuts: true, ends: true},
	"a shutdown at first, in a hurry": {calls: 3, shuts: true, ends: true, cancels: true},
	// Without oneways: one that crosses the close of a connection on which nothing has ever come is
	// lost, as with any peer that closes.
	"both drain at first": {calls: 3, shuts: true, clientEnds: true},
}

// TestDrainInterleavings: frames, replies, callers that leave, a shutdown and a drain by the client
// come between one another in any order. No call of a client that understands drains fails or waits
// for the handler of another one. Each request that wants an answer gets one, and is handled only
// if the answer is a reply or its caller has left. No oneway is lost. A client gets a hello before
// anything else, and is told once to drain, and the connection ends. The peer is told of each
// caller that left, and a call fails as one that may have run only if it has begun.
func TestDrainInterleavings(t *testing.T) {
	for name, cfg := range drainConfigs {
		t.Run(name, func(t *testing.T) {
			m := &drainModel{drainConfig: cfg}
			if broken, trace := m.explore(); broken != "" {
				for i := len(trace) - 1; i >= 0; i-- {
					t.Logf("%+v", trace[i])
				}
				t.Fatal(broken)
			}
			if m.quiet == 0 {
				t.Error("nothing ever comes to rest")
			}
			t.Logf("%d states, %d of them at rest", len(m.states), m.quiet)
		})
	}
}

// TestDrainModelFindsMistakes breaks the protocol in the ways of drainFault.
func TestDrainModelFindsMistakes(t *testing.T) {
	for _, tc := range []struct {
		name  string
		in    string
		fault drainFault
	}{
		{"the client closes its half before all was written", "shutdown, oneways", drainEndsUnflushed},
		{"a drain of an idle connection does not end it", "shutdown", drainIdleForgotten},
		{"calls begin on a connection that drains", "shutdown", drainBegins},
		{"the client closes both halves at once", "shutdown, oneways", drainClosesBoth},
		{"the server tells twice", "shutdown", drainSaysTwice},
		{"the server does not look again at a client that it gets to know", "shutdown at first", drainMeetsLate},
		{"the server says hello with the first reply", "hello", helloWithReply},
		{"the server says drain before hello", "shutdown at first", helloAfterMark},
		{"the server says hello to each request", "hello", helloEachTime},
		{"the client goes on with one call at a time", "hello", helloIgnored},
		{"the server refuses what it handles", "refusals", refusedTooLate},
		{"the server refuses oneways", "refusals", refusedOneway},
		{"the server answers no call that was cancelled", "refusals", cancelledUnanswered},
		{"the server answers a call that was cancelled twice", "refusals", cancelledTwice},
		{"the client cancels what it has not sent", "callers who leave", cancelUnsent},
		{"the client frees the slot of a call that it cancels", "callers who leave", cancelFrees},
		{"the client does not tell of callers who leave", "callers who leave", cancelNever},
		{"the client goes before it tells of callers who left", "callers who leave", cancelAtEnd},
		{"the server ends without refusing what has not begun", "a shutdown out of time", endsUntold},
		{"the server refuses what runs when it ends", "a shutdown out of time", endsRefusingAll},
		{"the server drops oneways when it ends", "a shutdown out of time", endsOneways},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := drainConfigs[tc.in]
			cfg.fault = tc.fault
			m := &drainModel{drainConfig: cfg}
			broken, trace := m.explore()
			if broken == "" {
				t.Fatalf("nothing found in %d states", len(m.states))
			}
			t.Logf("%s, after %d steps", broken, len(trace))
		})
	}
}
