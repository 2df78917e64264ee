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

	// mostSkips limits how many flushes in a row go without a yield before one tries again, and
	// skipTime how long they do.
	mostSkips = 1000
	skipTime  = time.Second
)

// yields remembers whether the last yield was worth its time. The zero value has found none too
// dear. The flusher changes it.
type yields struct {
	skips   atomic.Int32              // flushes that skip the yield
	tooDear atomic.Pointer[time.Time] // when a yield was last too dear; nil: the last one was not
}

// isDue reports whether the flush that begins now yields.
func (y *yields) isDue() bool {
	if y.skips.Load() == 0 || !y.areBusy() {
		return true
	}
	y.skips.Add(-1)
	return false
}

// areBusy reports whether the last yield was too dear, and not long ago.
func (y *yields) areBusy() bool {
	at := y.tooDear.Load()
	return at != nil && time.Since(*at) < skipTime
}

// judge records how long a yield took, and how many frames it brought. After a yield that was too
// dear, flushes skip it until they have made up for the time, each for yieldPerFrame.
func (y *yields) judge(took time.Duration, frames uint64) {
	excess := took - shortYield - time.Duration(frames)*yieldPerFrame
	if excess <= 0 {
		if y.tooDear.Load() != nil {
			y.skips.Store(0)
			y.tooDear.Store(nil)
		}
		return
	}
	now := time.Now()
	y.skips.Store(1 + int32(min(excess/yieldPerFrame, mostSkips-1)))
	y.tooDear.Store(&now)
}

// AreProcessorsBusy reports whether goroutines wait long for a processor, as the last yield has
// shown in the last second.
func (o *Output) AreProcessorsBusy() bool { return o.yields.areBusy() }

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
