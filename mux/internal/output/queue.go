package output

import "github.com/kiteline/kiteline/transport/buffer"

// queuedFrame is a frame that waits to be written.
type queuedFrame struct {
	frame *buffer.LinkBuffer // nil: it was taken out
	size  int                // bytes in it when it was queued
	held  int                // what it counts for besides, among the pending bytes
	at    uint64             // its position
}

// frameQueue is a queue of frames that are found by position. The zero value is empty, and the
// first frame gets position 0.
type frameQueue struct {
	ring  []queuedFrame // its length is a power of two, or zero
	first uint64        // position of the first frame queued, or of the next to come
	next  uint64        // position of the next frame to come
}

// leastRing is the ring's first length: enough for a connection with one call at a time.
const leastRing = 4

// queueKeep is the longest ring that an empty queue keeps after a burst.
const queueKeep = 256

// push queues a frame and returns its position.
func (q *frameQueue) push(frame *buffer.LinkBuffer, size, held int) uint64 {
	if n := uint64(len(q.ring)); q.next-q.first == n {
		q.grow(max(leastRing, 2*n))
	}
	at := q.next
	q.ring[at&uint64(len(q.ring)-1)] = queuedFrame{frame, size, held, at}
	q.next++
	return at
}

func (q *frameQueue) grow(n uint64) {
	ring := make([]queuedFrame, n)
	for at := q.first; at != q.next; at++ {
		ring[at&(n-1)] = q.ring[at&uint64(len(q.ring)-1)]
	}
	q.ring = ring
}

// pop returns the first frame that was not removed; ok is false if there is none.
func (q *frameQueue) pop() (f queuedFrame, ok bool) {
	for q.first != q.next {
		slot := &q.ring[q.first&uint64(len(q.ring)-1)]
		f, *slot = *slot, queuedFrame{}
		q.first++
		if f.frame != nil {
			return f, true
		}
	}
	if len(q.ring) > queueKeep {
		q.ring = nil
	}
	return queuedFrame{}, false
}

// remove removes the frame at position at, if it is queued. Otherwise the returned frame is nil.
func (q *frameQueue) remove(at uint64) (f queuedFrame) {
	if at < q.first || at >= q.next {
		return queuedFrame{}
	}
	slot := &q.ring[at&uint64(len(q.ring)-1)]
	f = *slot
	slot.frame = nil
	return f
}

// drain empties the queue and returns its frames. They stay not begun: first does not move.
// Positions are final.
func (q *frameQueue) drain() []queuedFrame {
	var dropped []queuedFrame
	for at := q.first; at != q.next; at++ {
		if f := q.ring[at&uint64(len(q.ring)-1)]; f.frame != nil {
			dropped = append(dropped, f)
		}
	}
	q.ring, q.next = nil, q.first
	return dropped
}

// unpop makes the positions from at on, which were popped or removed, count as not begun again. The
// queue is empty and gets no more frames.
func (q *frameQueue) unpop(at uint64) {
	if q.first != q.next {
		panic("output: BUG: unpop of a queue that goes on")
	}
	q.first, q.next = at, at
}
