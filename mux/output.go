package mux

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// What the flusher writes at once.
const (
	// chunkBytes is how much is gathered for one write. Up to here conn writes
	// without telling Go's scheduler.
	chunkBytes = 64 << 10

	// directBytes is the length from which bytes that lie together are written from
	// where they are instead of being gathered: a system call more costs what copying so
	// many does.
	directBytes = chunkBytes

	// directMaxBytes is how much of them one write takes: what conn's write timeout is for.
	directMaxBytes = 256 << 10

	// tryTimeout is the write timeout under which a write takes what the kernel has
	// room for and does not wait: conn tries first, and then waits for no time at all.
	tryTimeout = time.Nanosecond

	// slowBytes is how much one write takes after one that took longer than slowWrite.
	slowBytes = 4 << 10
	slowWrite = 100 * time.Millisecond

	// recordBytes is how much one write takes where none can be tried: TLS cuts longer
	// ones up by itself.
	recordBytes = 16 << 10

	// inlineBatches is how many batches a sender writes, its own frame's included,
	// before a goroutine of the output's goes on.
	inlineBatches = 4
)

// Defaults of outputConfig.
const (
	defaultBatchBytes   = 64 << 10
	defaultBatchFrames  = 64
	defaultPendingBytes = 16 << 20
)

// stream is the part of a conn.Conn that an output uses.
type stream interface {
	Write(p []byte) (int, error)
	SetWriteTimeout(d time.Duration) error
}

// outputConfig says how an output behaves. Zero values stand for the defaults.
type outputConfig struct {
	// waits says that a write on the stream may wait, and breaks the stream if it is
	// cut short, as with TLS: then only the output's own goroutine writes.
	waits bool

	// lent says that memory linked into frames belongs to those who send them, and may
	// be taken back with detach. Otherwise it is the frames' for as long as they live.
	lent bool

	writeTimeout    time.Duration // for each piece of up to 256 KiB, once the kernel has no room; zero: none
	maxBatchBytes   int           // a batch ends with the frame that reaches it
	maxBatchFrames  int
	maxPendingBytes int // see output.full

	// onError is called once if a write fails, without a lock, on the goroutine that
	// wrote. The output is closed then; the stream is not.
	onError func(err error)

	// onRoom is called without a lock when half of maxPendingBytes is free again, and when
	// no more than calmBytes wait any more, except where cancel or close has freed it. Nil:
	// nobody wants to know.
	onRoom    func()
	calmBytes int

	// start runs f, which ends soon after the stream is closed, on a goroutine of its
	// own, or reports that it is too late for that. Nil: a go statement does.
	start func(f func()) bool

	counters *outputCounters // may be shared by outputs; nil: nobody counts
}

// outputCounters count what outputs have done.
type outputCounters struct {
	frames  atomic.Uint64 // frames in the batches
	batches atomic.Uint64
	writes  atomic.Uint64
	handed  atomic.Uint64 // times the output's own goroutine took over
}

// output is the writing side of a connection that many goroutines send on. Frames are
// queued; the first sender that has no more to send becomes the flusher and writes what
// others have queued meanwhile along with its own, in few writes. A sender never waits for the socket:
// where the kernel has no room, or a sender has written enough for others, a goroutine of
// the output's takes the flusher's role, and ends when the queue is empty.
//
// Frames have positions, from 0, in the order in which they were queued.
type output struct {
	// immutable after newOutput
	stream    stream
	config    outputConfig
	writeRest func() // flushWaiting, made once

	// atomic
	pendingBytes atomic.Int64 // queued and not yet written; changed with mu held
	waited       atomic.Int64 // see waitedFor; added to by the flusher

	// guarded by mu, which is held for a few instructions, with none taken inside
	mu       sync.Mutex
	queue    frameQueue
	flushing bool          // somebody has the flusher's role
	err      error         // why no more frames are taken; nil while they are
	room     chan struct{} // non-nil while somebody waits for pending bytes to fall
	flushed  []func()      // called once when nothing is queued and nobody flushes

	// guarded by batchMu, which is held while the memory of frames is read, and never
	// while a write may wait; mu is taken inside. Only the flusher changes batch and next.
	batchMu sync.Mutex
	batch   []queuedFrame
	next    int // batch[:next] was gathered or written

	// owned by the flusher
	written  int    // bytes of the batch that the kernel has taken
	chunk    []byte // gathered bytes
	chunkAt  int    // chunk[:chunkAt] was written
	handsOn  bool   // config.waits, or the stream turned out not to be able to try
	patient  bool   // the stream has the configured write timeout, not tryTimeout
	slow     bool   // the last write that might wait took long
	everSent bool   // a write has taken something
	roomy    bool   // onRoom has to be called
}

func newOutput(s stream, cfg outputConfig) *output {
	if cfg.maxBatchBytes <= 0 {
		cfg.maxBatchBytes = defaultBatchBytes
	}
	if cfg.maxBatchFrames <= 0 {
		cfg.maxBatchFrames = defaultBatchFrames
	}
	if cfg.maxPendingBytes <= 0 {
		cfg.maxPendingBytes = defaultPendingBytes
	}
	if cfg.counters == nil {
		cfg.counters = new(outputCounters)
	}
	_ = s.SetWriteTimeout(cfg.writeTimeout) // fails on a closed stream, as the first write will
	o := &output{stream: s, config: cfg, handsOn: cfg.waits, patient: true}
	o.writeRest = o.flushWaiting
	return o
}

// company says whether other calls of the connection are under way, whose frames may
// be about to come.
type company uint8

const (
	alone     company = iota // write at once
	inCompany                // let other goroutines queue theirs first
	ahead                    // only queue it: the sender sends again soon, or calls flush
)

// send queues whole, which holds one whole frame, readable, and came from frame.Take.
// The output owns it from then on, whatever send returns. The error is why the output is
// closed; nothing of the frame was sent then. send does not wait for the peer. It may be
// called from any goroutine.
func (o *output) send(whole *buffer.LinkBuffer, c company) (position uint64, err error) {
	return o.sendHolding(whole, 0, c)
}

// sendHolding is send for a frame that counts for held bytes more than it has, until it was written.
func (o *output) sendHolding(whole *buffer.LinkBuffer, held int, c company) (position uint64, err error) {
	size := whole.Len()
	o.mu.Lock()
	if o.err != nil {
		err = o.err
		o.mu.Unlock()
		frame.Drop(whole)
		return 0, err
	}
	position = o.queue.push(whole, size, held)
	o.pendingBytes.Add(int64(size + held))
	if o.flushing || c == ahead {
		o.mu.Unlock()
		return position, nil
	}
	o.flushing = true
	o.mu.Unlock()
	if c == inCompany {
		runtime.Gosched() //nolint:forbidigo // what others queue meanwhile leaves in the same write
	}
	o.start()
	return position, nil
}

// flush has what was sent ahead leave, as send does, unless it has left since.
func (o *output) flush() {
	o.mu.Lock()
	if o.flushing || o.isEmptyLocked() && len(o.flushed) == 0 {
		o.mu.Unlock()
		return
	}
	o.flushing = true
	o.mu.Unlock()
	o.start()
}

// start is called by whoever has just taken the flusher's role.
func (o *output) start() {
	switch {
	case !o.handsOn:
		o.flushInline()
	case o.takeBatch():
		o.handOver()
	}
}

// cancel takes a frame out that was not begun, and reports whether it did: then
// nothing of it was sent, nor will be.
func (o *output) cancel(position uint64) bool {
	o.mu.Lock()
	f := o.queue.remove(position)
	if f.frame != nil {
		o.addPendingLocked(-f.size - f.held)
	}
	o.mu.Unlock()
	if f.frame == nil {
		return false
	}
	frame.Drop(f.frame)
	return true
}

// detach has what is left of a frame no longer refer to memory that was linked into it:
// when it returns nobody reads that any more. It does not wait for the peer. Only an output to
// which memory is lent has it.
func (o *output) detach(position uint64) {
	o.batchMu.Lock()
	defer o.batchMu.Unlock()
	for i := o.next; i < len(o.batch); i++ {
		if f := &o.batch[i]; f.at == position && f.frame != nil {
			f.frame = frame.CopyOf(f.frame)
		}
	}
}

// begun reports whether the frame at position may have been sent in part or whole.
// While a write is under way that errs on the side of true.
func (o *output) begun(position uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return position < o.queue.first
}

// pending returns how many bytes are queued and not yet written, and what frames hold besides.
func (o *output) pending() int { return int(o.pendingBytes.Load()) }

// waitedFor returns how long writes have taken that might wait and after which the kernel
// had taken something. If it grows with the clock there is too much for the peer to take at
// once, and the peer takes it.
func (o *output) waitedFor() time.Duration { return time.Duration(o.waited.Load()) }

// isFull reports whether more bytes wait than may.
func (o *output) isFull() bool { return o.pending() > o.config.maxPendingBytes }

// full returns nil if there is room for more bytes: at most maxPendingBytes wait.
// Otherwise it returns a channel that is closed when half of that is free again, or the
// output is closed. It bounds nothing by itself; the caller waits or gives up.
func (o *output) full() <-chan struct{} {
	if !o.isFull() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.isFull() || o.err != nil {
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// afterFlush has f called, once, when nothing is queued and nobody writes: at once, or
// by the goroutine that writes last. It is called without a lock, and after close too.
func (o *output) afterFlush(f func()) {
	o.mu.Lock()
	busy := o.flushing || !o.isEmptyLocked()
	if busy {
		o.flushed = append(o.flushed, f)
	}
	o.mu.Unlock()
	if !busy {
		f()
	}
}

// close has later sends fail with err and drops what is queued and not begun. A write
// under way goes on until the stream is closed. Only the first call counts; it returns
// true.
func (o *output) close(err error) bool {
	o.mu.Lock()
	first := o.err == nil
	if first {
		o.err = err
	}
	dropped := o.queue.drain()
	for _, f := range dropped {
		o.addPendingLocked(-f.size - f.held)
	}
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	o.mu.Unlock()
	for _, f := range dropped {
		frame.Drop(f.frame)
	}
	return first
}

// isEmptyLocked reports whether nothing is queued.
func (o *output) isEmptyLocked() bool { return o.queue.first == o.queue.next }

func (o *output) addPendingLocked(n int) {
	left := o.pendingBytes.Add(int64(n))
	if left < 0 {
		panic("mux: BUG: fewer than no bytes pending")
	}
	if o.room != nil && left <= int64(o.config.maxPendingBytes/2) {
		close(o.room)
		o.room = nil
	}
}
