package conn

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// dispatcher is the queue of connections with something to read, and the
// workers that take from it.
//
// At most one wake-up is under way. A goroutine that adds to the queue wakes a worker only if none
// is waking already, and a worker that takes work and sees more wakes one other before it begins.
// So with quick workers a burst of N connections costs one or two wake-ups, and a worker that
// blocks in a handler delays nothing else. The number of workers has no limit: each beyond the idle
// ones is inside a callback or on its way there.
type dispatcher struct {
	maxIdle      int   // immutable: parked workers kept for the next burst
	maxLingering int32 // immutable: goroutines that may wait on a socket

	lingering atomic.Int32 // goroutines waiting on a socket
	waiting   atomic.Int32 // length of the queue, to be read without mu

	workers sync.WaitGroup

	mu sync.Mutex // taken after any lock of a Conn

	// guarded by mu
	conns  connQueue
	tasks  taskQueue // work that is no connection's turn
	tasked bool      // a task was taken last, so a connection comes next
	alive  int       // workers, the parked ones included
	idle   []*worker // parked workers, last parked last
	waking bool      // a worker was woken and has not looked at the queue yet
	closed bool
}

// connQueue is a queue of connections, linked by nextInQueue: head and tail are nil together.
type connQueue struct{ head, tail *Conn }

func (q *connQueue) isEmpty() bool { return q.head == nil }

func (q *connQueue) push(c *Conn) {
	if q.tail == nil {
		q.head = c
	} else {
		q.tail.nextInQueue = c
	}
	q.tail = c
}

// pop takes the first of at least one.
func (q *connQueue) pop() *Conn {
	c := q.head
	q.head = c.nextInQueue
	c.nextInQueue = nil
	if q.head == nil {
		q.tail = nil
	}
	return c
}

// worker is one goroutine that takes from the queue.
type worker struct {
	wake chan struct{} // has room for one; a parked worker is sent to once
}

func newDispatcher(maxLingering int) *dispatcher {
	procs := runtime.GOMAXPROCS(0)
	return &dispatcher{maxIdle: 4 * procs, maxLingering: int32(maxLingering)}
}

// push puts c at the queue's end. The caller calls wake when it has pushed all it has.
func (d *dispatcher) push(c *Conn) {
	d.mu.Lock()
	d.conns.push(c)
	d.waiting.Add(1)
	d.mu.Unlock()
}

// do has f run on a worker.
func (d *dispatcher) do(f func()) { d.run(taskFunc(f)) }

// run has r run on a worker.
func (d *dispatcher) run(r Runner) {
	d.mu.Lock()
	d.tasks.push(r)
	w, wanted := d.wakeLocked()
	d.mu.Unlock()
	d.rouse(w, wanted)
}

// wake wakes a worker, or starts one, if there is work and none is waking.
func (d *dispatcher) wake() {
	d.mu.Lock()
	w, wanted := d.wakeLocked()
	d.mu.Unlock()
	d.rouse(w, wanted)
}

// wakeLocked decides whether to wake a worker, and which; nil stands for a new one.
func (d *dispatcher) wakeLocked() (w *worker, wanted bool) {
	if d.waking || d.conns.isEmpty() && d.tasks.len() == 0 {
		return nil, false
	}
	d.waking = true
	if n := len(d.idle); n > 0 {
		w = d.idle[n-1]
		d.idle = d.idle[:n-1]
		return w, true
	}
	d.alive++
	d.workers.Add(1)
	return nil, true
}

// rouse does what wakeLocked decided, without the lock.
func (d *dispatcher) rouse(w *worker, wanted bool) {
	switch {
	case !wanted:
	case w == nil:
		go d.work()
	default:
		w.wake <- struct{}{}
	}
}

// work is the loop of a worker. It ends when there is nothing to do and enough other workers are
// parked, or when the dispatcher is closed and the queue is empty.
func (d *dispatcher) work() {
	defer d.workerEnded()
	self := &worker{wake: make(chan struct{}, 1)}
	woken := true
	for {
		c, task, ok := d.take(self, woken)
		woken = false
		switch {
		case c != nil:
			c.serve()
		case task != nil:
			task.Run()
		case !ok:
			return
		default:
			<-self.wake
			woken = true
		}
	}
}

// workerEnded is called when a worker's goroutine ends, also when a callback has ended it.
func (d *dispatcher) workerEnded() {
	d.mu.Lock()
	d.alive--
	d.mu.Unlock()
	d.workers.Done()
}

// take returns the next piece of work. Tasks and connections alternate, so that many of one kind do
// not keep the other waiting. If there is no work, ok says whether self was parked and must wait
// for its wake-up, or must end.
func (d *dispatcher) take(self *worker, woken bool) (c *Conn, task Runner, ok bool) {
	d.mu.Lock()
	if woken {
		d.waking = false
	}
	switch {
	case d.tasks.len() > 0 && (d.conns.isEmpty() || !d.tasked):
		task = d.tasks.pop()
		d.tasked = true
	case !d.conns.isEmpty():
		d.tasked = false
		c = d.conns.pop()
		d.waiting.Add(-1)
	default:
		ok = !d.closed && len(d.idle) < d.maxIdle
		if ok {
			d.idle = append(d.idle, self)
		}
		d.mu.Unlock()
		return nil, nil, ok
	}
	w, wanted := d.wakeLocked()
	d.mu.Unlock()
	d.rouse(w, wanted)
	return c, task, true
}

// startLingering reports whether the calling worker may wait on a socket, and
// counts it if so: no connection waits for a worker, and the limit has room.
func (d *dispatcher) startLingering() bool {
	if d.waiting.Load() > 0 {
		return false
	}
	if d.lingering.Add(1) > d.maxLingering {
		d.lingering.Add(-1)
		return false
	}
	return true
}

// stopLingering ends what startLingering began.
func (d *dispatcher) stopLingering() { d.lingering.Add(-1) }

// count puts the queue and the workers into stats.
func (d *dispatcher) count(stats *GroupStats) {
	stats.Queued, stats.Lingering = int(d.waiting.Load()), int(d.lingering.Load())
	d.mu.Lock()
	defer d.mu.Unlock()
	stats.Workers, stats.Parked = d.alive, len(d.idle)
}

// close ends the workers and waits for them.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closed = true
	parked := d.idle
	d.idle = nil
	d.mu.Unlock()
	for _, w := range parked {
		w.wake <- struct{}{}
	}
	d.workers.Wait()
}
