package muxserver

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
)

// This file decides who handles a call, and when its reply is written.
//
// The calls of a connection wait in a line, in the order in which they came, and begin in
// that order. What came with one read of the socket, a batch, is added to the line at once. From
// there calls are taken by
//
//   - the reader, the goroutine that has read the batch, if nearly all calls of the connection are
//     quick (trust) and it does not come straight from the last batch (visit). It offers the
//     reading side and handles one call after the other, in place: no goroutine is woken, and the
//     replies leave in one write at the end. It stops when the line is empty, or after longTime:
//     then it asks a worker for help.
//   - workers, which were asked. One that takes a call and leaves others in the line asks the next
//     before it begins, so a call that blocks holds up none behind it. It writes each reply at
//     once.
//
// So at any time, while calls wait in the line
//
//	a worker was asked and has not come yet      (line.asked), or
//	the reader is about to take the next call    (line.reader).
//
// If one call keeps the reader, the helper, a timer, does what the reader cannot: it has others
// read, asks a worker for the line, and flushes the replies. The reader is an ordinary goroutine
// with an ordinary call from then on. A reader whose goroutine the handler has ended leaves the
// line as one that was kept too long does, on its way out.
const (
	// longTime is how long a call takes that counts as long, and how long a reader handles calls
	// before it asks for help. By so much the last call of a batch may be late where another
	// processor is idle.
	longTime = 200 * time.Microsecond

	// helpPeriod is how often the helper looks at readers. A call that blocks in place holds
	// others up for that long to twice as long.
	helpPeriod = time.Millisecond

	// quickTime is how long a quick call takes at most: a few times what it costs to have a worker
	// handle it. Where most take longer there is little to gain in place, and those behind wait.
	quickTime = 25 * time.Microsecond

	// quickPerLong is how many quick calls make up for a long one.
	quickPerLong = 1000

	// restShare is which part of a visit a reader that handles calls in place must be away after
	// it.
	restShare = 4
)

// dispatch has the calls of a batch handled. It is the last that OnRequest does.
func (s *Conn) dispatch(batch calls) {
	now := s.server.now()
	batch.stamp(now)
	if !s.trust.isGiven() || !s.visit.isRested(now) {
		s.line.handOut(batch)
		return
	}
	s.visit.began.Store(int64(now))
	turn := s.conn.Turn()
	visit, tell := s.line.enter(batch)
	s.conn.Offer()
	if tell {
		s.server.helper.add(s)
	}
	returned := false
	defer func() {
		s.line.leave(visit)
		s.out.Flush(s.companyBeside(0))
		if !returned {
			s.conn.KeepOpen(turn) // the handler has ended the goroutine, and its call is over
		}
		s.visit.ended.Store(int64(s.server.now()))
	}()
	s.handleInPlace(visit, now)
	returned = true
}

// handleInPlace handles calls of the line until there is none, it has taken long, or the helper
// has ended the visit, which began at that time of the server's clock.
func (s *Conn) handleInPlace(visit uint64, began time.Duration) {
	for at := began; at-began <= longTime; {
		call, more := s.line.takeInPlace(visit)
		if call == nil {
			return
		}
		at = call.handle(at, more)
	}
}

// companyBeside says whether replies of others may be about to come, where own calls in flight are
// the caller's.
func (s *Conn) companyBeside(own int32) output.Company {
	if s.inFlight.Load() > own {
		return output.InCompany
	}
	return output.Alone
}

// relieve does for the connection's reader what it cannot do while a call keeps it. It is the
// helper's look at a connection whose reader has lately handled calls in place, and reports whether
// to look again.
func (s *Conn) relieve() (again bool) {
	stuck, again := s.line.look()
	if stuck != 0 {
		s.conn.TakeOffered()
		s.line.leave(stuck)
		s.out.Flush(output.Alone)
	}
	return again
}

// calls is a queue of calls, linked by Call.next. The zero value is empty.
type calls struct{ first, last *Call }

func (q *calls) isEmpty() bool { return q.first == nil }

func (q *calls) push(call *Call) { q.append(calls{call, call}) }

// append moves the calls of tail, if there are any, to the end of q.
func (q *calls) append(tail calls) {
	switch {
	case tail.isEmpty():
		return
	case q.isEmpty():
		q.first = tail.first
	default:
		q.last.next = tail.first
	}
	q.last = tail.last
}

// pop takes the first call; nil without any.
func (q *calls) pop() *Call {
	call := q.first
	if call != nil {
		q.first, call.next = call.next, nil
	}
	return call
}

// line is the calls of a connection that have not begun. They are in flight, and belong to
// whoever takes them.
type line struct {
	ask func() // immutable: has a worker of the connection's group come, to Run

	// guarded by mu, which is held for a few instructions, with none taken inside
	mu      sync.Mutex
	waiting calls
	asked   bool   // a worker was asked, and has not come yet
	reader  uint64 // the visit of the reader that handles calls in place; 0: none does
	visits  uint64 // of readers, so far
	taken   uint64 // calls that readers have taken
	seen    uint64 // taken at the helper's last look
	helped  bool   // the helper has the connection
	several bool   // a reader has come with more than one call since the helper's last look
}

// needsWorkerLocked reports whether the caller, who leaves the line, is to ask a worker, once it
// has unlocked mu: calls wait in it, and no worker is on the way.
func (l *line) needsWorkerLocked() bool {
	needs := !l.waiting.isEmpty() && !l.asked
	l.asked = l.asked || needs
	return needs
}

// handOut adds a batch to the line, for workers.
func (l *line) handOut(batch calls) {
	l.mu.Lock()
	l.waiting.append(batch)
	needed := l.needsWorkerLocked()
	l.mu.Unlock()
	if needed {
		l.ask()
	}
}

// Run implements conn.Runner: it is what a worker does that was asked.
func (l *line) Run() {
	for call := l.take(true); call != nil; call = l.take(false) {
		call.handle(call.conn.server.now(), false)
	}
}

// take is how a worker takes a call, comes for the first time after it was asked. Without any
// call it returns nil.
func (l *line) take(comes bool) *Call {
	l.mu.Lock()
	if comes {
		l.asked = false
	}
	call := l.waiting.pop()
	needed := l.needsWorkerLocked()
	l.mu.Unlock()
	if needed {
		l.ask()
	}
	return call
}

// enter adds a batch to the line, for the reader that has read it. It returns the reader's visit,
// and whether the helper has to be told of the connection: not for a single call, behind which
// nothing waits. If that blocks, the sweep has others read.
func (l *line) enter(batch calls) (visit uint64, tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting.append(batch)
	l.visits++
	l.reader = l.visits
	if l.waiting.first != l.waiting.last {
		l.several = true
		tell = !l.helped
		l.helped = true
	}
	return l.visits, tell
}

// takeInPlace is how a reader takes a call. It returns nil without any, or if the helper has
// ended the visit. more says that others wait behind it.
func (l *line) takeInPlace(visit uint64) (call *Call, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reader != visit {
		return nil, false
	}
	l.taken++
	call = l.waiting.pop()
	return call, !l.waiting.isEmpty()
}

// leave ends a reader's visit, if it has not ended.
func (l *line) leave(visit uint64) {
	l.mu.Lock()
	if l.reader == visit {
		l.reader = 0
	}
	needed := l.needsWorkerLocked()
	l.mu.Unlock()
	if needed {
		l.ask()
	}
}

// withdraw takes the calls out that are answered, by a refusal if need be, and leaves the others.
func (l *line) withdraw() (withdrawn calls) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := l.waiting
	l.waiting = calls{}
	for call := waiting.pop(); call != nil; call = waiting.pop() {
		if call.answers {
			withdrawn.push(call)
		} else {
			l.waiting.push(call)
		}
	}
	return withdrawn
}

// look is the helper's look at the connection. It returns the visit of a reader that has not taken
// a call since the last look, 0 if there is none, and whether the helper keeps the connection.
func (l *line) look() (stuck uint64, keep bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken == l.seen {
		stuck = l.reader
	}
	keep = stuck == 0 && (l.reader != 0 || l.several)
	l.seen, l.helped, l.several = l.taken, keep, false
	return stuck, keep
}

// trust says whether the reader of a connection may handle its calls: if most of them have lately
// been quick, and fewer than one of quickPerLong long. Nothing is known of a new connection's
// calls, so they are given to workers at first.
type trust struct {
	credit atomic.Int32 // quick calls in excess, from 0 to 2*quickPerLong
}

func (t *trust) isGiven() bool { return t.credit.Load() > quickPerLong }

// note records how long a handler took.
func (t *trust) note(took time.Duration) {
	change := int32(1)
	switch {
	case took > longTime:
		change = -quickPerLong
	case took > quickTime:
		change = -1
	}
	for {
		credit := t.credit.Load()
		next := max(0, min(credit+change, 2*quickPerLong))
		if next == credit || t.credit.CompareAndSwap(credit, next) {
			return
		}
	}
}

// visit is when a reader has last handled calls in place, by the server's clock.
type visit struct{ began, ended atomic.Int64 }

// isRested reports whether the reader has been away for a while before it comes again. If the next
// batch is there whenever the reader is back, it never parks, and Go's scheduler, which looks for
// what has come on other sockets when it has nothing to run, leaves them for 10 ms.
func (v *visit) isRested(now time.Duration) bool {
	ended := v.ended.Load()
	return int64(now)-ended >= (ended-v.began.Load())/restShare
}
