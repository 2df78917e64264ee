package muxserver

import "sync"

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

// needsWorkerLocked reports whether the caller, who leaves the line, is to ask a worker, once it has
// unlocked mu: calls wait in it, and no worker is on the way.
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
