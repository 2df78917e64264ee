package output

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/mux/internal/frame"
)

// This file is the work of the flusher, the one goroutine that has an output's writing role. It
// finds everything that the role owns as its predecessor left it.

// flushInline writes on a sender's goroutine, which must not wait.
func (o *Output) flushInline() {
	o.bePatient(false)
	for n := 0; o.takeBatch(); n++ {
		if n == inlineBatches {
			o.handOver()
			return
		}
		err := o.writeBatch()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			o.handsOn = !o.everSent // a stream that cannot try is not tried again
			o.handOver()
			return
		default:
			o.fail(err)
			return
		}
	}
}

// handOver gives the role, and what is left of the batch, to a goroutine that may wait.
func (o *Output) handOver() {
	o.config.Counters.Handed.Add(1)
	switch {
	case o.config.Start == nil:
		go o.flushWaiting()
	case !o.config.Start(o.writeRest):
		o.fail(cause.ErrClosed)
	}
}

// flushWaiting is what that goroutine runs. It ends when nothing is queued, or when a write fails:
// closing the stream ends a write under way.
func (o *Output) flushWaiting() {
	for more := true; more; more = o.takeBatch() {
		o.bePatient(true)
		err := o.writeBatch()
		for !o.patient && errors.Is(err, os.ErrDeadlineExceeded) {
			o.bePatient(true)
			err = o.writeBatch()
		}
		if err != nil {
			o.fail(err)
			return
		}
	}
}

// bePatient sets whether writes wait for the peer.
func (o *Output) bePatient(patient bool) {
	if o.patient == patient {
		return
	}
	o.patient = patient
	timeout := tryTimeout
	if patient {
		timeout = o.config.WriteTimeout
	}
	_ = o.stream.SetWriteTimeout(timeout) // fails on a closed stream, as the write will
}

// takeBatch takes the next frames from the queue. If there are none it gives the role up and
// returns false.
func (o *Output) takeBatch() bool {
	o.batchMu.Lock()
	clear(o.batch)
	o.batch, o.next, o.written = o.batch[:0], 0, 0
	size := 0
	o.mu.Lock()
	for size < o.config.MaxBatchBytes && len(o.batch) < o.config.MaxBatchFrames {
		f, ok := o.queue.pop()
		if !ok {
			break
		}
		size += f.size
		o.batch = append(o.batch, f)
	}
	taken := len(o.batch)
	o.batchMu.Unlock()
	if taken == 0 {
		o.leaveLocked()
		return false
	}
	o.mu.Unlock()
	o.config.Counters.Batches.Add(1)
	o.config.Counters.Frames.Add(uint64(taken))
	return true
}

// leaveLocked gives the role up and unlocks mu.
func (o *Output) leaveLocked() {
	if o.chunk != nil {
		chunkPool.Put((*[chunkBytes]byte)(o.chunk[:chunkBytes]))
		o.chunk, o.chunkAt = nil, 0
	}
	o.flushing = false
	callbacks := o.flushed
	o.flushed = nil
	o.mu.Unlock()
	for _, f := range callbacks {
		f()
	}
}

// chunkPool holds the memory in which small frames are gathered.
var chunkPool = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

// writeBatch writes what is left of the batch. After it has failed for want of time it may be
// called again, and goes on where it was.
func (o *Output) writeBatch() error {
	for {
		var more bool
		var err error
		if o.patient {
			if more, err = o.writeWaiting(); err == nil && o.triesAgain() {
				o.bePatient(false)
			}
		} else {
			more, err = o.tryWrite()
		}
		if o.roomy && o.config.OnRoom != nil {
			o.config.OnRoom()
		}
		o.roomy = false
		if !more || err != nil {
			return err
		}
	}
}

// tryWrite writes a piece as far as the kernel has room, and writes long runs in place. It reports
// whether there was anything to write.
func (o *Output) tryWrite() (more bool, err error) {
	o.batchMu.Lock()
	defer o.batchMu.Unlock()
	p := o.directLocked()
	if len(p) == 0 {
		p = o.gatherLocked()
	}
	if len(p) == 0 {
		return false, nil
	}
	n, err := o.stream.Write(p)
	o.took(n)
	return true, err
}

// writeWaiting writes a piece however long that takes. It writes lent memory from a copy, since the
// sender may not want to wait as long. To a slow peer it writes small pieces, since only at the end
// of a piece does the peer show that it lives.
func (o *Output) writeWaiting() (more bool, err error) {
	o.batchMu.Lock()
	var p []byte
	if !o.config.Lent {
		p = o.directLocked()
	}
	if len(p) == 0 {
		p = o.gatherLocked()
	}
	o.batchMu.Unlock()
	if len(p) == 0 {
		return false, nil
	}
	switch {
	case !o.config.Lent:
	case o.slow:
		p = p[:min(len(p), slowBytes)]
	case o.config.Waits:
		p = p[:min(len(p), recordBytes)]
	}
	began := time.Now()
	n, err := o.stream.Write(p)
	took := time.Since(began)
	o.took(n)
	o.slow = took > slowWrite
	if n > 0 {
		o.waited.Add(int64(took))
	}
	return true, err
}

// triesAgain reports whether the next bytes after a wait are lent and many. The kernel then has
// room for more than the wait was for, and what it takes at once need not be copied.
func (o *Output) triesAgain() bool {
	if !o.config.Lent || o.config.Waits || o.handsOn || o.slow {
		return false
	}
	o.batchMu.Lock()
	defer o.batchMu.Unlock()
	return o.chunkAt == len(o.chunk) && o.skipWrittenLocked() && len(o.batch[o.next].frame.First()) >= directBytes
}

// directLocked returns the next run of bytes if it is long, or the last one; otherwise nil.
func (o *Output) directLocked() []byte {
	if o.chunkAt < len(o.chunk) || !o.skipWrittenLocked() {
		return nil
	}
	p := o.batch[o.next].frame.First()
	if len(p) >= directBytes || o.isLast(p) {
		return p[:min(len(p), directMaxBytes)]
	}
	return nil
}

// gatherLocked returns bytes in the output's own memory: those gathered before that the kernel has
// not taken, or else as many of the next as fit, up to where a long run may be written in place.
func (o *Output) gatherLocked() []byte {
	if o.chunkAt < len(o.chunk) {
		return o.chunk[o.chunkAt:]
	}
	o.chunk, o.chunkAt = o.chunk[:0], 0
	for len(o.chunk) < chunkBytes && o.skipWrittenLocked() {
		next := o.batch[o.next].frame
		p := next.First()
		if (!o.patient || !o.config.Lent) && len(o.chunk) > 0 && len(p) >= directBytes {
			break
		}
		if o.chunk == nil {
			o.chunk = chunkPool.Get().(*[chunkBytes]byte)[:0]
		}
		n := min(len(p), chunkBytes-len(o.chunk))
		o.chunk = append(o.chunk, p[:n]...)
		next.Discard(n)
	}
	return o.chunk
}

// skipWrittenLocked drops frames of which nothing is left, and reports whether there is another.
func (o *Output) skipWrittenLocked() bool {
	for o.next < len(o.batch) {
		f := &o.batch[o.next]
		if f.frame.Len() > 0 {
			return true
		}
		frame.Drop(f.frame)
		f.frame = nil
		o.next++
		if f.held > 0 {
			o.mu.Lock()
			o.freeLocked(f.held)
			o.mu.Unlock()
		}
	}
	return false
}

// isLast reports whether p, the front of the next frame, is all that is left to write.
func (o *Output) isLast(p []byte) bool {
	return o.next == len(o.batch)-1 && len(p) == o.batch[o.next].frame.Len()
}

// took records that the kernel has taken n bytes of the piece. If the piece was written in place,
// batchMu is held, or Detach is not in use.
func (o *Output) took(n int) {
	o.config.Counters.Writes.Add(1)
	if n == 0 {
		return
	}
	o.everSent = true
	o.written += n
	if o.chunkAt < len(o.chunk) {
		o.chunkAt += n
	} else {
		o.batch[o.next].frame.Discard(n)
	}
	o.mu.Lock()
	o.freeLocked(n)
	o.mu.Unlock()
}

// freeLocked subtracts n from the pending bytes, and notes whether OnRoom must be called.
func (o *Output) freeLocked(n int) {
	before := o.Pending()
	o.addPendingLocked(-n)
	for _, room := range [...]int{o.config.MaxPendingBytes / 2, o.config.CalmBytes} {
		o.roomy = o.roomy || before > room && before-n <= room
	}
}

// fail ends the output after a failed write, and gives the role up. Frames of the batch of which
// the kernel has taken nothing count as not begun.
func (o *Output) fail(err error) {
	size, held := 0, 0
	var unbegun *uint64 // the first position of which the kernel has taken nothing
	o.batchMu.Lock()
	for i := range o.batch {
		f := o.batch[i]
		if size >= o.written && unbegun == nil {
			unbegun = &f.at
		}
		size += f.size
		if f.frame != nil {
			frame.Drop(f.frame)
			held += f.held
		}
	}
	clear(o.batch)
	o.batch, o.next = nil, 0
	o.batchMu.Unlock()
	first := o.Close(err)
	o.mu.Lock()
	if unbegun != nil {
		o.queue.unpop(*unbegun)
	}
	o.addPendingLocked(o.written - size - held)
	o.leaveLocked()
	if first && o.config.OnError != nil {
		o.config.OnError(err)
	}
}
