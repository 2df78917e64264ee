package output

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// What the flusher writes at once.
const (
	// chunkBytes is how much is gathered for one write. Up to this length conn writes without
	// telling Go's scheduler.
	chunkBytes = 64 << 10

	// directBytes is the length from which bytes that lie together are written in place instead of
	// being gathered: another system call costs what copying that many does.
	directBytes = chunkBytes

	// directMaxBytes is how many of them one write takes: conn's write timeout is for that many.
	directMaxBytes = 256 << 10

	// tryTimeout is the write timeout under which a write takes what the kernel has room for and
	// does not wait: conn tries first, and then waits for no time at all.
	tryTimeout = time.Nanosecond

	// slowBytes is how much one write takes after one that took longer than slowWrite.
	slowBytes = 4 << 10
	slowWrite = 100 * time.Millisecond

	// recordBytes is how much one write takes on a stream that cannot try: TLS cuts up longer
	// writes by itself.
	recordBytes = 16 << 10

	// inlineBatches is how many batches a sender writes, including its own frame's, before a
	// goroutine of the output's takes over.
	inlineBatches = 4
)

// Defaults of Config.
const (
	DefaultPendingBytes = 16 << 20

	defaultBatchBytes  = 64 << 10
	defaultBatchFrames = 64
)

// Stream is the part of a conn.Conn that an output uses.
type Stream interface {
	Write(p []byte) (int, error)
	SetWriteTimeout(d time.Duration) error
}

// CanTry reports whether the stream stays whole when a deadline cuts a write on nc short. On TLS
// and its like it does not.
func CanTry(nc net.Conn) bool {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// Config says how an output behaves. Zero values stand for the defaults.
type Config struct {
	// Waits says that a write on the stream may wait, and breaks the stream if it is cut short, as
	// with TLS: then only the output's own goroutine writes.
	Waits bool

	// Lent says that memory linked into frames belongs to their senders, who may take it back with
	// Detach. Otherwise it belongs to the frames for as long as they live.
	Lent bool

	WriteTimeout    time.Duration // for each piece of up to 256 KiB without room; zero: none
	MaxBatchBytes   int           // a batch ends with the frame that reaches it
	MaxBatchFrames  int
	MaxPendingBytes int // see Output.Full

	// OnError is called once if a write fails, without a lock, on the goroutine that wrote. The
	// output is closed then; the stream is not.
	OnError func(err error)

	// OnRoom, if not nil, is called without a lock when half of MaxPendingBytes is free again, and
	// when no more than CalmBytes wait, unless Cancel or Close has freed them.
	OnRoom    func()
	CalmBytes int

	// Start runs f, which ends soon after the stream is closed, on a goroutine of its own, or
	// reports that it is too late for that. If it is nil a go statement runs f.
	Start func(f func()) bool

	Counters *Counters // may be shared by outputs; nil: nothing is counted
}

// Counters count what outputs have done.
type Counters struct {
	Frames  atomic.Uint64 // frames in the batches
	Batches atomic.Uint64
	Writes  atomic.Uint64
	Handed  atomic.Uint64 // times the output's own goroutine took over
}

// Output is the writing side of a connection that many goroutines send on. Senders queue frames.
// The first sender that finds nobody writing becomes the flusher: it writes its own frame and what
// others have queued meanwhile, in few writes. A sender never waits for the socket: where the
// kernel has no room, or a sender has written enough for others, a goroutine of the output's
// becomes the flusher, and ends when the queue is empty.
//
// Frames have positions, from 0, in the order in which they were queued.
type Output struct {
	// immutable after New
	stream    Stream
	config    Config
	writeRest func() // flushWaiting, made once
	yield     func() // lets other goroutines run once

	// atomic
	pendingBytes atomic.Int64 // queued and not yet written; changed with mu held
	waited       atomic.Int64 // see WaitedFor; added to by the flusher

	// guarded by mu, which is held for a few instructions, with none taken inside
	mu       sync.Mutex
	queue    frameQueue
	flushing bool          // a goroutine has the flusher's role
	err      error         // why no more frames are taken; nil while they are
	room     chan struct{} // non-nil while a sender waits for pending bytes to fall
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
	handsOn  bool   // Config.Waits, or the stream turned out not to be able to try
	patient  bool   // the stream has the configured write timeout, not tryTimeout
	slow     bool   // the last write that might wait took long
	everSent bool   // a write has taken something
	roomy    bool   // OnRoom must be called
	yields   yields
}

// New returns the output of s. From then on the output sets the stream's write timeout.
func New(s Stream, cfg Config) *Output {
	if cfg.MaxBatchBytes <= 0 {
		cfg.MaxBatchBytes = defaultBatchBytes
	}
	if cfg.MaxBatchFrames <= 0 {
		cfg.MaxBatchFrames = defaultBatchFrames
	}
	if cfg.MaxPendingBytes <= 0 {
		cfg.MaxPendingBytes = DefaultPendingBytes
	}
	if cfg.Counters == nil {
		cfg.Counters = new(Counters)
	}
	_ = s.SetWriteTimeout(cfg.WriteTimeout) // fails on a closed stream, as the first write will
	o := &Output{stream: s, config: cfg, handsOn: cfg.Waits, patient: true, yield: yield}
	o.writeRest = o.flushWaiting
	return o
}

// Company says whether other calls on the connection are in flight, whose frames may come soon.
type Company uint8

// What a sender knows about other calls.
const (
	Alone     Company = iota // write at once
	InCompany                // let other goroutines queue theirs first
	Ahead                    // only queue it: the sender sends again soon, or calls Flush
)

// Send queues whole, which must hold one whole frame, readable, and come from frame.Take. The
// output owns it from then on, whatever Send returns. The error is why the output is closed;
// nothing of the frame was sent then. Send does not wait for the peer.
func (o *Output) Send(whole *buffer.LinkBuffer, c Company) (position uint64, err error) {
	return o.SendHolding(whole, 0, c)
}

// SendHolding is Send for a frame that counts for held bytes more than its length until it was
// written.
func (o *Output) SendHolding(whole *buffer.LinkBuffer, held int, c Company) (position uint64, err error) {
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
	if o.flushing || c == Ahead {
		o.mu.Unlock()
		return position, nil
	}
	o.flushing = true
	o.mu.Unlock()
	if c == InCompany {
		o.awaitCompany(position + 1)
	}
	o.start()
	return position, nil
}

// Flush writes what was sent Ahead and has not left since, as Send would. Ahead means the same as
// Alone.
func (o *Output) Flush(c Company) {
	o.mu.Lock()
	if o.flushing || o.isEmptyLocked() && len(o.flushed) == 0 {
		o.mu.Unlock()
		return
	}
	o.flushing = true
	next := o.queue.next
	o.mu.Unlock()
	if c == InCompany {
		o.awaitCompany(next)
	}
	o.start()
}

// start begins the flush. Its caller has just taken the flusher's role.
func (o *Output) start() {
	switch {
	case !o.handsOn:
		o.flushInline()
	case o.takeBatch():
		o.handOver()
	}
}

// Cancel removes a frame that was not begun, and reports whether it did. If so, nothing of the
// frame was sent, nor will be.
func (o *Output) Cancel(position uint64) bool {
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

// Detach makes what is left of a frame independent of memory that was linked into it: after it
// returns nothing reads that memory. It does not wait for the peer. Use it only with Config.Lent.
func (o *Output) Detach(position uint64) {
	o.batchMu.Lock()
	defer o.batchMu.Unlock()
	for i := o.next; i < len(o.batch); i++ {
		if f := &o.batch[i]; f.at == position && f.frame != nil {
			f.frame = frame.CopyOf(f.frame)
		}
	}
}

// Begun reports whether the frame at position may have been sent in part or whole. While a write is
// under way it may report true too early.
func (o *Output) Begun(position uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return position < o.queue.first
}

// Pending returns how many bytes are queued and not yet written, including what frames hold
// besides.
func (o *Output) Pending() int { return int(o.pendingBytes.Load()) }

// WaitedFor returns the total time of writes that might wait and after which the kernel had taken
// something. If it grows with the clock, there is more than the peer can take at once, and the peer
// is taking it.
func (o *Output) WaitedFor() time.Duration { return time.Duration(o.waited.Load()) }

// Queued returns how many frames wait of which nothing was written.
func (o *Output) Queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(o.queue.next - o.queue.first)
}

// IsFull reports whether more bytes wait than MaxPendingBytes.
func (o *Output) IsFull() bool { return o.Pending() > o.config.MaxPendingBytes }

// Full returns nil if at most MaxPendingBytes wait. Otherwise it returns a channel that is closed
// when half of that is free again, or the output is closed. It bounds nothing by itself: the caller
// waits or gives up.
func (o *Output) Full() <-chan struct{} {
	if !o.IsFull() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.IsFull() || o.err != nil {
		return nil
	}
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// AfterFlush has f called, once, when nothing is queued and nobody writes: at once, or by the
// goroutine that writes last. f is called without a lock, and after Close too.
func (o *Output) AfterFlush(f func()) {
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

// Close makes later sends fail with err, and drops what is queued and not begun. A write under way
// goes on until the stream is closed. Only the first call counts, and returns true.
func (o *Output) Close(err error) bool {
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

// Trim gives back what an output keeps for the next frames, for which memory must then be
// allocated. It is called now and then on an idle connection. While anything is written it does
// nothing.
func (o *Output) Trim() {
	o.batchMu.Lock()
	defer o.batchMu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.flushing && o.isEmptyLocked() {
		o.queue.ring, o.batch, o.next = nil, nil, 0
	}
}

// isEmptyLocked reports whether nothing is queued.
func (o *Output) isEmptyLocked() bool { return o.queue.first == o.queue.next }

func (o *Output) addPendingLocked(n int) {
	left := o.pendingBytes.Add(int64(n))
	if left < 0 {
		panic("output: BUG: fewer than no bytes pending")
	}
	if o.room != nil && left <= int64(o.config.MaxPendingBytes/2) {
		close(o.room)
		o.room = nil
	}
}
