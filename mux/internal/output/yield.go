package output

import (
	"runtime"
	"sync/atomic"
	"time"
)

// This file is about the yield before a flush: the flusher lets other goroutines run once, since
// what they queue meanwhile leaves in the same write. Where many goroutines send at once, one write
// then replaces ten. Where goroutines wait long for a processor, a yield only delays the frames,
// and is left out.

const (
	// shortYield is how long a yield may take whatever it brings: goroutines that wait for each
	// other often work for some hundred microseconds first, and a goroutine that does not wait
	// keeps a processor for ten milliseconds.
	shortYield = time.Millisecond

	// yieldPerFrame is how much longer a yield may take for each frame that it brings. That is some
	// twenty times the cost of a write of the frame alone, so that yields are given up only where
	// they clearly cost too much.
	yieldPerFrame = 100 * time.Microsecond

	// mostSkips limits how many flushes in a row go without a yield before one tries again.
	mostSkips = 1000
)

// yields remembers whether the last yield was worth its time. The zero value has found none too
// dear.
type yields struct {
	skips atomic.Int32 // flushes that skip the yield; changed by the flusher
	dear  atomic.Bool  // the last yield was too dear; changed by the flusher
}

// isDue reports whether the flush that begins now yields.
func (y *yields) isDue() bool {
	if y.skips.Load() == 0 {
		return true
	}
	y.skips.Add(-1)
	return false
}

// judge records how long a yield took, and how many frames it brought. After a yield that was too
// dear, flushes skip it until they have made up for the time, each for yieldPerFrame.
func (y *yields) judge(took time.Duration, frames uint64) {
	excess := took - shortYield - time.Duration(frames)*yieldPerFrame
	if dear := excess > 0; dear != y.dear.Load() {
		y.dear.Store(dear)
	}
	if excess > 0 {
		y.skips.Store(1 + int32(min(excess/yieldPerFrame, mostSkips-1)))
	}
}

// AreProcessorsBusy reports whether the last yield has shown that goroutines wait long for a
// processor. Only flushes in company yield, so a connection without concurrent calls learns
// nothing new.
func (o *Output) AreProcessorsBusy() bool { return o.yields.dear.Load() }

// awaitCompany yields, if that is due. next is the position that the next frame was to get when the
// caller took the flusher's role.
func (o *Output) awaitCompany(next uint64) {
	if !o.yields.isDue() {
		return
	}
	began := time.Now()
	o.yield()
	took := time.Since(began)
	frames := uint64(0)
	if took > shortYield {
		o.mu.Lock()
		frames = max(o.queue.next, next) - next // Close takes back the positions of what it drops
		o.mu.Unlock()
	}
	o.yields.judge(took, frames)
}

// yield is Output.yield, except in tests.
func yield() {
	runtime.Gosched() //nolint:forbidigo // the library yields here and nowhere else
}
