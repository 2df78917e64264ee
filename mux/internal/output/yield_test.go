package output

import (
	"testing"
	"testing/synctest"
	"time"
)

// yielding is an output whose yields take as long, and bring as many frames, as a test says.
type yielding struct {
	out    *Output
	stream *fakeStream
	takes  time.Duration
	brings int
	yields int // how many there were
	next   int // id of the next frame
}

// newYielding makes one. It must be called in a bubble, whose time the yields take.
func newYielding() *yielding {
	y := &yielding{stream: &fakeStream{room: 1 << 20}}
	y.out = New(y.stream, Config{})
	y.out.yield = func() {
		y.yields++
		time.Sleep(y.takes)
		for range y.brings {
			y.send(InCompany)
		}
	}
	return y
}

func (y *yielding) send(c Company) {
	_, _ = y.out.Send(numbered(y.next, 10), c)
	y.next++
}

// flushes sends n times in company, and returns how many of the flushes have yielded.
func (y *yielding) flushes(n int) int {
	before := y.yields
	for range n {
		y.send(InCompany)
	}
	return y.yields - before
}

// TestYieldsBringCompany: what is queued during a yield leaves in the same write. Yields that are
// short, or bring much for their time, go on.
func TestYieldsBringCompany(t *testing.T) {
	for _, tc := range []struct {
		name   string
		takes  time.Duration
		brings int
	}{
		{"no time, no frame", 0, 0},
		{"short, no frame", shortYield, 0},
		{"short, some frames", shortYield, 5},
		{"long, and many frames", shortYield + 50*yieldPerFrame, 50},
	} {
		synctest.Test(t, func(t *testing.T) {
			y := newYielding()
			y.takes, y.brings = tc.takes, tc.brings
			const flushes = 100
			if got := y.flushes(flushes); got != flushes {
				t.Errorf("%s: %d of %d flushes yielded, want all", tc.name, got, flushes)
			}
			if got := y.out.config.Counters.Batches.Load(); got != flushes {
				t.Errorf("%s: got %d batches, want %d", tc.name, got, flushes)
			}
			if ids, _ := splitNumbered(t, y.stream.data); len(ids) != flushes*(1+tc.brings) {
				t.Errorf("%s: got %d frames, want %d", tc.name, len(ids), flushes*(1+tc.brings))
			}
		})
	}
}

// TestYieldsThatAreTooDearStop: after a yield that takes long for what it brings, flushes skip it,
// the more of them the dearer it was, and then one tries again.
func TestYieldsThatAreTooDearStop(t *testing.T) {
	for _, tc := range []struct {
		name   string
		takes  time.Duration
		brings int
		skips  int
	}{
		{"a little too long for no frame", shortYield + 1, 0, 1},
		{"too long for no frame", shortYield + 10*yieldPerFrame, 0, 11},
		{"a little too long for some frames", shortYield + 5*yieldPerFrame + 1, 5, 1},
		{"too long for some frames", 40 * time.Millisecond, 19, 372},
		{"much too long", time.Hour, 19, mostSkips},
	} {
		synctest.Test(t, func(t *testing.T) {
			y := newYielding()
			y.takes, y.brings = tc.takes, tc.brings
			for range 3 {
				if got := y.flushes(1); got != 1 {
					t.Fatalf("%s: a flush that is to try yielded %d times, want once", tc.name, got)
				}
				if !y.out.AreProcessorsBusy() {
					t.Errorf("%s: the processors do not count as busy", tc.name)
				}
				if got := y.flushes(tc.skips); got != 0 {
					t.Errorf("%s: %d of the next %d flushes yielded, want none", tc.name, got, tc.skips)
				}
			}
			y.takes, y.brings = 0, 0
			if got := y.flushes(100); got != 100 {
				t.Errorf("%s: %d of 100 flushes yielded once that costs nothing, want all", tc.name, got)
			}
			if y.out.AreProcessorsBusy() {
				t.Errorf("%s: the processors still count as busy", tc.name)
			}
		})
	}
}

// TestYieldsAreTriedAgain: a yield that was too dear counts for a second, however few flushes there
// were since.
func TestYieldsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYielding()
		y.takes = time.Hour
		for range 3 {
			if got := y.flushes(1); got != 1 {
				t.Fatalf("%d yields, want one", got)
			}
			time.Sleep(skipTime - 1)
			if !y.out.AreProcessorsBusy() || y.flushes(1) != 0 {
				t.Error("within a second the processors do not count as busy, or a flush yielded")
			}
			time.Sleep(time.Nanosecond)
			if y.out.AreProcessorsBusy() {
				t.Error("after a second the processors still count as busy")
			}
		}
	})
}

// TestYieldsOnlyInCompany: a sender that is alone, or sends ahead, never waits.
func TestYieldsOnlyInCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYielding()
		y.send(Alone)
		y.send(Ahead)
		y.out.Flush(Alone)
		if y.yields != 0 {
			t.Errorf("%d yields of a sender that is alone", y.yields)
		}
		y.send(Ahead)
		y.out.Flush(InCompany)
		if y.yields != 1 {
			t.Errorf("%d yields of a flush in company, want 1", y.yields)
		}
		y.out.Flush(InCompany)
		if y.yields != 1 {
			t.Error("a flush of nothing yielded")
		}
		if ids, rest := splitNumbered(t, y.stream.data); len(ids) != 3 || len(rest) > 0 {
			t.Errorf("got %d frames and %d bytes, want 3 and 0", len(ids), len(rest))
		}
	})
}

// TestCloseWhileYielding: the flusher finds the queue empty after Close, and frames that Close
// dropped do not count as gained.
func TestCloseWhileYielding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYielding()
		y.out.yield = func() {
			time.Sleep(time.Second)
			y.out.Close(errFake)
		}
		y.send(InCompany)
		if len(y.stream.data) != 0 || y.out.Pending() != 0 {
			t.Errorf("%d bytes written and %d pending after Close", len(y.stream.data), y.out.Pending())
		}
		if y.out.yields.isDue() {
			t.Error("a yield of a second that brought nothing counts as worth it")
		}
	})
}
