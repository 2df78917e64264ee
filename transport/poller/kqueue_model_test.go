package poller

import (
	"os"
	"sync"
	"syscall"
)

// kqueueModel is a kqueue without a kernel, as kevent(2) of the BSDs describes it:
//
//   - a filter is named by descriptor and filter; adding it again sets its low-water mark, leaves
//     its flags, and looks at the level;
//   - a filter whose condition holds is reported once, however often it was triggered (coalescing);
//   - with EV_ONESHOT the report deletes it, whatever became of the condition;
//   - with EV_CLEAR the report resets it: it is triggered again by what comes later;
//   - EVFILT_READ fires from the low-water mark on, 1 unless given, or at the end of the stream,
//     with EV_EOF although bytes are left;
//   - deleting what is not there gives ENOENT, a descriptor that is not open EBADF;
//   - closing a descriptor deletes its filters and their reports.
//
// Where clamps is set the mark is lowered to the size of the receive buffer, as darwin does.
type kqueueModel struct {
	clamps  bool
	pending chan struct{} // has room for one: there is something to take

	mu       sync.Mutex
	sockets  map[int]*modelSocket
	filters  map[modelKey]*modelFilter
	queue    []modelKey // active filters, in the order of their activation
	refusal  error      // the next change fails
	intr     int        // this many awaits and takes are interrupted
	waits    int        // takes so far
	reported int        // reports so far, without the waker's
	closed   bool
}

type modelKey struct {
	fd     int
	filter kqueueFilter
}

type modelFilter struct {
	mode     filterMode
	lowWater int64
	active   bool // in queue
}

// modelSocket is a stream socket with the default size of its receive buffer.
type modelSocket struct {
	unread int
	ended  bool // the peer closed its writing side
	room   bool // a write would not block
	broken bool // this side can send no more
}

// modelBuffer is the size of a receive buffer.
const modelBuffer = 1000

// modelWaker is the descriptor of the waker's reading end.
const modelWaker = 3

func newKqueueModel() *kqueueModel {
	return &kqueueModel{
		pending: make(chan struct{}, 1),
		sockets: map[int]*modelSocket{modelWaker: {}},
		filters: make(map[modelKey]*modelFilter),
	}
}

// happen changes a socket and triggers a filter of it.
func (k *kqueueModel) happen(fd int, filter kqueueFilter, change func(*modelSocket)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(k.sockets[fd])
	k.triggerLocked(modelKey{fd, filter})
}

// consume changes a socket and triggers nothing.
func (k *kqueueModel) consume(fd int, change func(*modelSocket)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(k.sockets[fd])
}

// open makes fd a new socket, as after a close of the old one.
func (k *kqueueModel) open(fd int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forgetLocked(modelKey{fd, filterRead})
	k.forgetLocked(modelKey{fd, filterWrite})
	k.sockets[fd] = &modelSocket{room: true}
}

func (k *kqueueModel) forgetLocked(key modelKey) {
	delete(k.filters, key)
	for i := range k.queue {
		if k.queue[i] == key {
			k.queue = append(k.queue[:i], k.queue[i+1:]...)
			return
		}
	}
}

// holdsLocked reports whether the condition of a filter holds.
func (k *kqueueModel) holdsLocked(key modelKey) bool {
	s := k.sockets[key.fd]
	if key.filter == filterWrite {
		return s.room || s.broken
	}
	mark := max(k.filters[key].lowWater, 1)
	if k.clamps {
		mark = min(mark, modelBuffer)
	}
	return int64(s.unread) >= mark || s.ended
}

// triggerLocked queues a filter whose condition holds.
func (k *kqueueModel) triggerLocked(key modelKey) {
	f := k.filters[key]
	if f == nil || f.active || !k.holdsLocked(key) {
		return
	}
	f.active = true
	k.queue = append(k.queue, key)
	select {
	case k.pending <- struct{}{}:
	default:
	}
}

func (k *kqueueModel) change(c kqueueChange) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		panic("model: change after close")
	}
	if err := k.refusal; err != nil {
		k.refusal = nil
		return os.NewSyscallError("kevent", err)
	}
	key := modelKey{c.fd, c.filter}
	switch f := k.filters[key]; {
	case k.sockets[c.fd] == nil:
		return os.NewSyscallError("kevent", syscall.EBADF)
	case c.mode == filterAbsent && f == nil:
		return os.NewSyscallError("kevent", syscall.ENOENT)
	case c.mode == filterAbsent:
		k.forgetLocked(key)
		return nil
	case f == nil:
		k.filters[key] = &modelFilter{mode: c.mode, lowWater: c.lowWater}
	default:
		f.lowWater = c.lowWater
	}
	k.triggerLocked(key)
	return nil
}

func (k *kqueueModel) await() error {
	for {
		k.mu.Lock()
		if k.intr > 0 {
			k.intr--
			k.mu.Unlock()
			return os.NewSyscallError("poll", syscall.EINTR)
		}
		some := len(k.queue) > 0
		k.mu.Unlock()
		if some {
			return nil
		}
		<-k.pending
	}
}

func (k *kqueueModel) take(reports []kqueueReport) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.waits++
	if k.intr > 0 {
		k.intr--
		return 0, os.NewSyscallError("kevent", syscall.EINTR)
	}
	n := 0
	for n < len(reports) && len(k.queue) > 0 {
		key := k.queue[0]
		k.queue = k.queue[1:]
		f := k.filters[key]
		f.active = false
		if f.mode == filterOneShot {
			delete(k.filters, key)
		} else if !k.holdsLocked(key) {
			continue // read meanwhile
		}
		s := k.sockets[key.fd]
		reports[n] = kqueueReport{fd: key.fd, filter: key.filter, eof: s.ended}
		if key.filter == filterWrite {
			reports[n].eof = s.broken
		}
		if key.fd != modelWaker {
			k.reported++
		}
		n++
	}
	return n, nil
}

func (k *kqueueModel) wakeFD() int { return modelWaker }
func (k *kqueueModel) wake()       { k.receive(modelWaker, 1) }
func (k *kqueueModel) drainWaker() { k.drain(modelWaker) }

// receive is the arrival of bytes, drain reads all of them, end is the peer's FIN, and give makes
// room to write.
func (k *kqueueModel) receive(fd, n int) {
	k.happen(fd, filterRead, func(s *modelSocket) { s.unread += n })
}

func (k *kqueueModel) drain(fd int) { k.consume(fd, func(s *modelSocket) { s.unread = 0 }) }

func (k *kqueueModel) end(fd int) {
	k.happen(fd, filterRead, func(s *modelSocket) { s.ended = true })
}

func (k *kqueueModel) give(fd int) {
	k.happen(fd, filterWrite, func(s *modelSocket) { s.room = true })
}

func (k *kqueueModel) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		panic("model: closed twice")
	}
	k.closed = true
	return nil
}
