package output

import (
	"runtime"
	"time"
)

// This file is about the yield before a flush: the flusher lets other goroutines run once, since
// what they queue meanwhile leaves in the same write. Where many send at once that makes one write
// of ten. Where goroutines wait long for a processor it only delays the frames, and is left out.

const (
	// shortYield is how long a yield may take whatever it brings: a few writes' time.
	shortYield = 200 * time.Microsecond

	// yieldPerFrame is how much longer it may take for each frame that it brings. That is some
	// twenty times what a write of the frame's own costs, so that a yield is given up only where
	// it is clearly too dear.
	yieldPerFrame = 100 * time.Microsecond

	// mostSkips bounds how many flushes in a row go without a yield before one tries again.
	mostSkips = 256
)

// yields remembers what the last yields were worth. The zero value has found none too dear.
type yields struct {
	skips int // flushes that go without before the next one tries
	next  int // what skips becomes after another yield that was too dear; 0 stands for 1
}

// isDue reports whether the flush that begins now yields.
func (y *yields) isDue() bool {
	if y.skips == 0 {
		return true
	}
	y.skips--
	return false
}

// judge records how long a yield took, and how many frames it brought. After one that was too
// dear the next flushes go without, after another one twice as many; one that paid forgets that.
func (y *yields) judge(took time.Duration, frames uint64) {
	if took <= shortYield+time.Duration(frames)*yieldPerFrame {
		y.next = 0
		return
	}
	y.skips = max(y.next, 1)
	y.next = min(2*y.skips, mostSkips)
}

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
