package muxserver

import (
	"sync"
	"sync/atomic"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// This file holds the limits that pause a connection: replies that wait for their client, calls of
// unmarked clients, and oneways. None of them blocks a goroutine: whatever makes room resumes the
// connection. room.go has the limits by which marked clients' requests are refused.

// isBackedUp reports whether the peer must take its replies before more of its requests are read.
// The connection is paused then.
func (s *Conn) isBackedUp() bool {
	most, pending := s.server.config.MaxPendingBytes, s.out.Pending()
	switch {
	case pending <= most/(frame.MinMemory/frame.MinBytes):
		return false // however short the replies are
	case pending <= most && pending+s.out.Queued()*frame.MinMemory <= most:
		return false
	}
	s.notePause()
	s.conn.Pause()
	s.out.AfterFlush(s.resume)
	return true
}

// notePause records that the connection will not be read.
func (s *Conn) notePause() {
	s.server.counters.pauses.Add(1)
	s.pause.unread.Store(true)
	if s.marked.Load() && s.pause.told.enter() {
		s.server.pauses.add(s)
	}
}

// admit lets a call of an unmarked client enter, if the limits have room. Otherwise it pauses the
// connection. Only the reading side calls it.
func (s *Conn) admit() bool {
	most := int32(s.server.mostStockCalls)
	if s.share.inFlight.Load() >= most {
		s.notePause()
		s.conn.Pause()
		s.pause.full.Store(true)
		if s.share.inFlight.Load() < most { // the last call may have left before it could see that
			s.resumeIfFull()
		}
		return false
	}
	if !s.server.gate.enter(&s.share.seat) {
		s.notePause()
		return false
	}
	s.enter()
	return true
}

// enter counts in a call that was admitted; leave counts it out.
func (s *Conn) enter() {
	if s.share.inFlight.Add(1) == 1 && !s.conn.BeginWork() {
		panic("muxserver: BUG: reading from a connection that has ended")
	}
}

// makeRoom frees what the limits have given to a call, before the call is answered: when the client
// has the answer, its next request finds room.
func (s *Conn) makeRoom(weight int64, oneway bool) {
	s.server.gate.leave()
	if weight == 0 {
		return // its client is not marked
	}
	if oneway {
		s.share.oneways.add(amount{-1, -weight})
		s.server.room.oneways.add(amount{-1, -weight})
		s.resumeIfFull()
	}
	s.sayRoomIfLow(s.uncount(amount{1, weight}))
	s.server.room.freed(oneway)
}

// leave counts out a call that was answered. The last one lets the connection end, once the replies
// have gone out.
func (s *Conn) leave() {
	left := s.share.inFlight.Add(-1)
	if !s.marked.Load() {
		s.resumeIfFull()
	}
	if left == 0 {
		s.out.AfterFlush(s.endWork)
	}
}

// pauseFor pauses the connection until there is room for d, the oneway in front, for which v says
// that there is none.
func (s *Conn) pauseFor(v verdict, d demand) {
	s.notePause()
	s.conn.Pause()
	if v == noRoom {
		s.pause.need.Store(weightOf(d.bytes))
		s.server.room.awaitOneway(s)
		return
	}
	s.pause.full.Store(true)
	if s.fitsOneway(weightOf(d.bytes)) { // the last oneway may have left before it could see that
		s.resumeIfFull()
	}
}

func (s *Conn) resumeIfFull() {
	if s.pause.full.Load() && s.pause.full.CompareAndSwap(true, false) {
		s.conn.Resume()
	}
}

// gate limits the calls that all connections of a server have in flight. A marked client's call
// that it turns away is refused (see claim). Another client's connection waits in a queue, and
// comes before others of its kind once there is room.
//
// While there is room and the queue is not empty, a call of wake is on the way: by the connection
// whose turn it is, when it has taken what it can or has ended; or by a call that leaves.
type gate struct {
	most int64 // immutable; 0: no limit

	inside atomic.Int64 // calls in flight; not counted without a limit
	queued atomic.Int64 // len(queue); changed with mu held

	mu    sync.Mutex
	queue []*gateSeat // guarded by mu
}

// gateSeat is a connection as the gate sees it.
type gateSeat struct {
	conn pauser // immutable

	// guarded by gate.mu
	waiting bool // in the queue
	turn    bool // it was first in the queue, and may enter before those in it
}

// pauser is the part of a conn.Conn that a gate uses.
type pauser interface {
	Pause()
	Resume() bool
}

// enter counts a call of s in. If there is no room it pauses s, and resumes s when its turn comes.
func (g *gate) enter(s *gateSeat) bool {
	if g.most == 0 {
		return true
	}
	if (g.queued.Load() == 0 || g.isTurnOf(s)) && g.tryEnter() {
		return true
	}
	s.conn.Pause()
	g.mu.Lock()
	s.turn = false
	if !s.waiting {
		s.waiting = true
		g.queue = append(g.queue, s)
		g.queued.Add(1)
	}
	g.mu.Unlock()
	return false
}

func (g *gate) isTurnOf(s *gateSeat) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return s.turn
}

func (g *gate) tryEnter() bool {
	if g.inside.Add(1) <= g.most {
		return true
	}
	g.leave()
	return false
}

// leave counts a call out.
func (g *gate) leave() {
	if g.most > 0 {
		g.inside.Add(-1)
		g.wake()
	}
}

// passOn ends the turn of s, if it has it, and gives the turn to the next. It must be called after
// enter: the last call inside may have left before it could see s in the queue.
func (g *gate) passOn(s *gateSeat) {
	if g.most == 0 || g.queued.Load() == 0 {
		return
	}
	g.mu.Lock()
	s.turn = false
	g.mu.Unlock()
	g.wake()
}

// wake gives the turn to the first open connection in the queue, if there is room.
func (g *gate) wake() {
	for g.queued.Load() > 0 && g.inside.Load() < g.most {
		first := g.pop()
		if first == nil || first.conn.Resume() {
			return
		}
	}
}

// pop gives the first in the queue its turn; nil if there is none.
func (g *gate) pop() *gateSeat {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		return nil
	}
	first := g.queue[0]
	g.queue[0] = nil
	g.queue = g.queue[1:]
	g.queued.Add(-1)
	first.waiting, first.turn = false, true
	return first
}

// forget removes a connection that has ended, and gives its turn to the next.
func (g *gate) forget(s *gateSeat) {
	if g.most == 0 {
		return
	}
	g.mu.Lock()
	s.turn = false
	for i, other := range g.queue {
		if other == s {
			g.queue = append(g.queue[:i], g.queue[i+1:]...)
			g.queued.Add(-1)
			break
		}
	}
	s.waiting = false
	g.mu.Unlock()
	g.wake()
}
