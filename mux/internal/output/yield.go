package output

import (
	"runtime"
	"sync/atomic"
	"time"
)

// This file is about the yield before a flush: the flusher lets other goroutines run once, since
// what they queue meanwhile leaves in the same write. Where many send at once that makes one write
// of ten. Where goroutines wait long for a processor it only delays the frames, and is left out.

const (
	// shortYield is how long a yield may take whatever it brings: goroutines that wait for each
	// other often work for some hundred microseconds first, and one that does not wait keeps a
	// processor for ten milliseconds.
	shortYield = time.Millisecond

	// yieldPerFrame is how much longer it may take for each frame that it brings. That is some
	// twenty times what a write of the frame's own costs, so that a yield is given up only where
	// it is clearly too dear.
	yieldPerFrame = 100 * time.Microsecond

	// mostSkips bounds how many flushes in a row go without a yield before one tries again.
	mostSkips = 1000
)

// yields remembers what the last yield was worth. The zero value has found none too dear.
type yields struct {
	skips atomic.Int32 // flushes that go without before the next one tries; changed by the flusher
}

// isDue reports whether the flush that begins now yields.
func (y *yields) isDue() bool {
	if y.skips.Load() == 0 {
		return true
	}
	y.skips.Add(-1)
	return false
}

// judge records how long a yield took, and how many frames it brought. The flushes after one that
// was too dear go without until they have made up for it, each for what a frame is worth.
func (y *yields) judge(took time.Duration, frames uint64) {
	excess := took - shortYield - time.Duration(frames)*yieldPerFrame
	if excess > 0 {
		y.skips.Store(1 + int32(min(excess/yieldPerFrame, mostSkips-1)))
	}
}

// AreProcessorsBusy reports whether goroutines wait long for a processor, as far as the last yield
// has shown.
func (o *Output) AreProcessorsBusy() bool { return o.yields.skips.Load() > 0 }

// awaitCompany yields, if that is due. Its caller has just taken the flusher's role, when the next
// frame was to get position next.
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
