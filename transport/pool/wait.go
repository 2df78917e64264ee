package pool

import (
	"context"
)

// claim is what Get goes on with: a connection to check, a place in the queue, an error, or, if all
// are nil, a slot to dial in.
type claim struct {
	conn   *pooledConn
	waiter *waiter
	err    error
}

// waiter is a Get that waits for a connection or a slot.
type waiter struct {
	granted chan struct{} // closed when got is there

	// guarded by the peer's mu
	got        claim // written before granted is closed, then never again
	isGranted  bool
	next, prev *waiter
}

// waitQueue holds the waiting calls of Get in the order of their arrival. A peer's mu guards it.
type waitQueue struct {
	head, tail *waiter
}

// pushLocked adds a new waiter at the end.
func (q *waitQueue) pushLocked() *waiter {
	w := &waiter{granted: make(chan struct{}), prev: q.tail}
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
	return w
}

// removeLocked removes w.
func (q *waitQueue) removeLocked(w *waiter) {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.next, w.prev = nil, nil
}

// grantLocked gives got to the first waiter. It reports whether there was one.
func (pr *peer) grantLocked(got claim) bool {
	w := pr.waiters.head
	if w == nil {
		return false
	}
	pr.waiters.removeLocked(w)
	pr.counts.Waiting--
	w.got, w.isGranted = got, true
	close(w.granted)
	return true
}

// await waits until w has got something or ctx ends.
func (pr *peer) await(ctx context.Context, w *waiter) claim {
	select {
	case <-w.granted:
		return w.got
	case <-ctx.Done():
		pr.giveUp(w)
		return claim{err: pr.opError("wait for connection", ctx.Err())}
	}
}

// giveUp removes w from the queue. What w was given meanwhile goes to the next waiter.
func (pr *peer) giveUp(w *waiter) {
	pr.mu.Lock()
	pr.counts.WaitTimeouts++
	if !w.isGranted {
		pr.waiters.removeLocked(w)
		pr.counts.Waiting--
		pr.mu.Unlock()
		return
	}
	if w.got.conn == nil && w.got.err == nil {
		pr.counts.Dialing--
		pr.counts.Open--
		pr.slotFreedLocked()
	}
	pr.mu.Unlock()
	if c := w.got.conn; c != nil {
		_ = pr.put(c.current())
	}
}
