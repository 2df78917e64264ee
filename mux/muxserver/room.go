package muxserver

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// This file limits the requests of marked clients that were read and not answered yet, per
// connection and in all. A request for which there is no room is refused (refuse.go), and the
// client is told when it is worth asking again. A oneway is not refused: if oneways alone meet a
// limit, their connection is not read until there is room. A oneway is admitted although other
// calls fill a limit: what those calls wait for may come behind it.

// stepBytes is the unit in which a room counts what a connection holds, rounded down. So a
// connection that holds less changes nothing that other connections look at, and is not refused
// because of what they hold.
const stepBytes = 16 << 10

// stepsOf returns how many of a connection's bytes a room counts.
func stepsOf(bytes int64) int64 { return bytes / stepBytes * stepBytes }

// room limits what the requests of all marked clients may hold together.
//
// A connection that waits for room registers itself and then looks once more. A connection that
// makes room does so first and then looks for waiting ones. So at least one of the two sees the
// other.
type room struct {
	// immutable
	most  int64 // bytes
	calls *gate // the server's limit in number

	held    atomic.Int64 // bytes, in steps
	oneways load         // the requests that have no reply; exact, not in steps
	waiting atomic.Int32 // connections in the lists below; changed with mu held

	mu      sync.Mutex
	refused []*Conn // guarded by mu: to be told when half of the room is free
	paused  []*Conn // guarded by mu: not read, since there is no room for a oneway
}

// share is what a connection's calls take of the limits. All of it is atomic, except for the seat.
// The load counts marked clients' calls only; oneways is part of it, except for a moment in
// claimOneway, which counts it first.
type share struct {
	inFlight atomic.Int32            // calls handled or waiting; added to by the reading side
	load     load                    // unanswered calls of a marked client, and part of the next
	oneways  load                    // the oneways in load
	lowMark  atomic.Pointer[lowMark] // nil: the client is not told of room here
	seat     gateSeat                // in the gate of all connections
}

// isLow reports whether enough is free to tell refused clients.
func (r *room) isLow() bool {
	return r.held.Load() <= r.most/2 && (r.calls.most == 0 || r.calls.inside.Load() <= r.calls.most/2)
}

// awaitLow has s told when half of the room is free.
func (r *room) awaitLow(s *Conn) {
	r.register(&r.refused, s)
	r.tellRefused()
}

// awaitOneway has s, which was paused, read again when there is room for a oneway.
func (r *room) awaitOneway(s *Conn) {
	r.register(&r.paused, s)
	r.resumeFirst()
}

func (r *room) register(list *[]*Conn, s *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(*list, s) {
		*list = append(*list, s)
		r.waiting.Add(1)
	}
}

// freed tells waiting connections about the room that a request has freed.
func (r *room) freed(oneway bool) {
	if r.waiting.Load() == 0 {
		return
	}
	r.tellRefused()
	if oneway {
		r.resumeFirst()
	}
}

func (r *room) tellRefused() {
	if !r.isLow() {
		return
	}
	r.mu.Lock()
	refused := r.refused
	r.refused = nil
	r.waiting.Add(int32(-len(refused)))
	r.mu.Unlock()
	for _, s := range refused {
		s.sayRoom()
	}
}

// resumeFirst resumes the connection that has waited longest, if what it waits for fits. That
// connection calls resumeFirst for the next one when it has taken what it can (see Conn.OnRequest),
// or has ended.
func (r *room) resumeFirst() {
	for {
		r.mu.Lock()
		if len(r.paused) == 0 || !r.fits(r.paused[0].pause.need.Load()) {
			r.mu.Unlock()
			return
		}
		first := r.paused[0]
		r.paused = slices.Delete(r.paused, 0, 1)
		r.waiting.Add(-1)
		r.mu.Unlock()
		first.pause.resumed.Store(true)
		if first.conn.Resume() {
			return
		}
	}
}

// fits reports whether a oneway of that weight would be admitted now.
func (r *room) fits(weight int64) bool {
	oneways := r.oneways.get()
	return oneways.calls == 0 || !r.oversteps(amount{oneways.calls + 1, oneways.bytes + weight})
}

// forget removes a connection that has ended, and gives its turn to the next.
func (r *room) forget(s *Conn) {
	r.mu.Lock()
	for _, list := range []*[]*Conn{&r.refused, &r.paused} {
		if i := slices.Index(*list, s); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
			r.waiting.Add(-1)
		}
	}
	r.mu.Unlock()
	if s.pause.resumed.Load() {
		r.resumeFirst()
	}
}

// verdict is what the limits say about a request.
type verdict uint8

const (
	admitted   verdict = iota
	noRoomHere         // the connection's limits are met
	noRoom             // the server's are
)

// String returns the verdict's name.
func (v verdict) String() string { return [...]string{"admitted", "no room here", "no room"}[v] }

// demand is a request that is in front of the reading side.
type demand struct {
	bytes  int  // of the whole frame
	came   int  // how many of them have come
	held   int  // how much memory they take, whole or not
	oneway bool // it has no reply
}

func (d demand) isWhole() bool { return d.came == d.bytes }

// claim counts in what is in memory of a marked client's request, and a whole request as a call. It
// turns a request away as soon as its length is known to be too much. A request that is alone is
// admitted, however long it is. Only the reading side calls it.
func (s *Conn) claim(d demand) verdict {
	if d.oneway {
		return s.claimOneway(d)
	}
	now, whole := s.share.load.get(), weightOf(d.bytes)
	others := now.bytes - s.reading.front.claimed
	switch {
	case now.calls == 0:
	case others+whole > s.server.mostBytes, now.calls >= s.server.mostCalls:
		return noRoomHere
	}
	part := int64(d.held)
	if d.isWhole() {
		part = whole
	}
	room := &s.server.room
	counted := stepsOf(now.bytes)
	takes, more := stepsOf(others+whole)-counted, stepsOf(others+part)-counted
	alone := now.calls == 0 && room.held.Load() <= counted
	switch {
	case alone:
		if more > 0 {
			room.held.Add(more)
		}
	case takes > 0 && room.held.Load()+takes > room.most:
		return noRoom
	case more > 0 && room.held.Add(more) > room.most:
		room.held.Add(-more) // other connections were quicker
		return noRoom
	}
	if !s.enterGate(d) {
		room.held.Add(-more)
		return noRoom
	}
	s.count(d, part-s.reading.front.claimed, more)
	return admitted
}

// enterGate counts a whole request in if the number of the server's calls is limited. It reports
// whether there is room.
func (s *Conn) enterGate(d demand) bool {
	gate := &s.server.gate
	switch {
	case gate.most == 0:
		return true
	case d.isWhole():
		return gate.tryEnter()
	}
	return gate.inside.Load() < gate.most
}

// count adds bytes to the connection's load, and a whole request as a call. The room has already
// counted steps for that. If calls have left meanwhile, so that the number of steps differs, count
// corrects the room.
func (s *Conn) count(d demand, bytes, steps int64) {
	more := amount{bytes: bytes}
	switch {
	case d.isWhole():
		more.calls = 1
		s.reading.front.claimed = 0
	case bytes == 0:
		return
	default:
		s.reading.front.claimed += bytes
	}
	now := s.share.load.add(more)
	if crossed := stepsOf(now.bytes) - stepsOf(now.bytes-bytes); crossed != steps {
		s.server.room.held.Add(crossed - steps)
	}
	if d.isWhole() {
		s.enter()
	}
}

// claimOneway is claim for a oneway. A oneway counts against the same limits, and is admitted
// unless oneways alone meet them.
func (s *Conn) claimOneway(d demand) verdict {
	weight := weightOf(d.bytes)
	if !s.fitsOneway(weight) {
		return noRoomHere
	}
	room := &s.server.room
	if !d.isWhole() {
		if !room.fits(weight) {
			return noRoom
		}
		return admitted
	}
	if all := room.oneways.add(amount{1, weight}); all.calls > 1 && room.oversteps(all) {
		room.oneways.add(amount{-1, -weight})
		return noRoom
	}
	s.share.oneways.add(amount{1, weight})
	if s.server.gate.most > 0 {
		s.server.gate.inside.Add(1)
	}
	s.count(d, weight, 0)
	return admitted
}

// fitsOneway reports whether the connection's oneways leave room for one of that weight.
func (s *Conn) fitsOneway(weight int64) bool {
	here := s.share.oneways.get()
	return here.calls == 0 || here.bytes+weight <= s.server.mostBytes && here.calls < s.server.mostCalls
}

// oversteps reports whether oneways are more than the server takes.
func (r *room) oversteps(oneways amount) bool {
	return oneways.bytes > r.most || r.calls.most > 0 && oneways.calls > r.calls.most
}

// unclaim counts out what has come of a request that is not whole yet.
func (s *Conn) unclaim() {
	if s.reading.front.claimed > 0 {
		s.uncount(amount{bytes: s.reading.front.claimed})
		s.reading.front.claimed = 0
		s.server.room.freed(false)
	}
}

// uncount subtracts a from the connection's load, and from what the room counts of it.
func (s *Conn) uncount(a amount) (left amount) {
	left = s.share.load.add(amount{-a.calls, -a.bytes})
	if steps := stepsOf(left.bytes+a.bytes) - stepsOf(left.bytes); steps > 0 {
		s.server.room.held.Add(-steps)
	}
	return left
}

// weightOf returns what a request of that many bytes counts for.
func weightOf(frameBytes int) int64 { return int64(frame.Weight(frameBytes)) }
