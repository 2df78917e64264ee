package muxserver

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
)

// This file decides who handles a call, and when its reply is written.
//
// The calls of a connection wait in a line, in the order in which they came, and begin in that
// order. The calls that came with one read of the socket, a batch, are added to the line at once.
// Two kinds of goroutines take calls from there:
//
//   - The reader, the goroutine that has read the batch, if nearly all calls of the connection are
//     quick (trust) and it does not come straight from the last batch (visit), or the batch is
//     one call and no other is in flight (isAloneWith). It offers the
//     reading side and handles one call after the other, in place: no goroutine is woken, and the
//     replies leave in one write at the end. It stops when the line is empty, or after longTime:
//     then it asks a worker for help.
//   - Workers that were asked. A worker that takes a call and leaves others in the line asks the
//     next worker before it begins, so a call that blocks holds up none behind it. It writes each
//     reply at once.
//
// So while calls wait in the line, at least one of these is true:
//
//	a worker was asked and has not come yet      (line.asked)
//	the reader is about to take the next call    (line.reader)
//
// If one call keeps the reader, the helper, a timer, does what the reader cannot: it has another
// goroutine read, asks a worker for the line, and flushes the replies. From then on the reader is
// an ordinary goroutine with an ordinary call. A reader whose goroutine the handler has ended
// leaves the line on its way out, as one that was kept too long does.
const (
	// longTime is the time from which a call counts as long, and for which a reader handles calls
	// before it asks for help. The last call of a batch may be that late although another processor
	// is idle.
	longTime = 200 * time.Microsecond

	// helpPeriod is how often the helper looks at readers. A call that blocks in place holds up
	// others for that long to twice as long.
	helpPeriod = time.Millisecond

	// quickTime is the most that a quick call takes: a few times the cost of having a worker handle
	// it. If most calls take longer, handling them in place gains little, and the calls behind them
	// wait.
	quickTime = 25 * time.Microsecond

	// quickPerLong is how many quick calls make up for a long one.
	quickPerLong = 1000

	// restShare: after a visit, a reader must stay away for a quarter of the visit's time,
	// 1/restShare, before it handles calls in place again.
	restShare = 4
)

// dispatch has the calls of a batch handled. It is the last thing that OnRequest does.
func (s *Conn) dispatch(batch calls) {
	now := s.server.now()
	batch.stamp(now)
	if !s.trust.isGiven() || !s.isAloneWith(batch) && !s.visit.isRested(now) {
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

// isAloneWith reports whether batch is a single call, and no other is in flight. The reader needs
// no rest for such calls: it serves them as it would those of a pooled connection, which may keep
// the goroutine as long. The client may send the next request while the reply is being written, so
// that the reader would never count as rested.
func (s *Conn) isAloneWith(batch calls) bool {
	return batch.first == batch.last && s.share.inFlight.Load() == 1
}

// handleInPlace handles calls of the line until none is left, it has taken longTime, or the helper
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

// companyBeside says whether replies of other goroutines may come soon. own is how many of the
// calls in flight are the caller's.
func (s *Conn) companyBeside(own int32) output.Company {
	if s.share.inFlight.Load() > own {
		return output.InCompany
	}
	return output.Alone
}

// relieve does for the connection's reader what it cannot do while a call keeps it. It is the
// helper's look at a connection whose reader has lately handled calls in place. It reports whether
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

// line is the calls of a connection that have not begun. They are in flight, and belong to the
// goroutine that takes them.
type line struct {
	ask func() // immutable: has a worker of the connection's group call Run

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

// needsWorkerLocked reports whether the caller, who leaves the line, must ask a worker once it has
// unlocked mu: calls wait in the line, and no worker is on the way.
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

// Run implements conn.Runner: a worker that was asked runs it.
func (l *line) Run() {
	for call := l.take(true); call != nil; call = l.take(false) {
		call.handle(call.conn.server.now(), false)
	}
}

// take takes a call for a worker; comes says that the worker takes its first one after it was
// asked. It returns nil if there is no call.
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
// and whether the helper must be told of the connection. That is not needed for a single call,
// behind which nothing waits: if it blocks, the sweep has another goroutine read.
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

// takeInPlace takes a call for a reader. It returns nil if there is no call, or if the helper has
// ended the visit. more says that others wait behind the call.
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

// withdraw removes the calls that must be answered, if only by a refusal, and leaves the others.
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
// been quick, and fewer than one of quickPerLong long. A new connection's calls are unknown, so
// workers handle them at first.
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

// visit is when a reader last handled calls in place, by the server's clock.
type visit struct{ began, ended atomic.Int64 }

// isRested reports whether the reader has been away long enough to handle calls in place again. If
// the next batch is there whenever the reader is back, the reader never parks. Go's scheduler looks
// for what has come on other sockets only when it has nothing to run, and so leaves them for 10 ms.
func (v *visit) isRested(now time.Duration) bool {
	ended := v.ended.Load()
	return int64(now)-ended >= (ended-v.began.Load())/restShare
}
