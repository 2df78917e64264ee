package conn

// taskQueue is a queue of Runners in a ring that is kept, so that a task costs
// no allocation.
type taskQueue struct {
	ring []Runner // its length is a power of two, or 0
	head int      // index of the first
	n    int      // how many there are
}

const (
	minTaskRing = 64

	// maxIdleTaskRing is the largest ring that an empty queue keeps.
	maxIdleTaskRing = 4096
)

func (q *taskQueue) len() int { return q.n }

func (q *taskQueue) push(r Runner) {
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = r
	q.n++
}

// pop takes the first of at least one.
func (q *taskQueue) pop() Runner {
	r := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	if q.n == 0 && len(q.ring) > maxIdleTaskRing {
		*q = taskQueue{}
	}
	return r
}

func (q *taskQueue) grow() {
	ring := make([]Runner, max(2*len(q.ring), minTaskRing))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}
