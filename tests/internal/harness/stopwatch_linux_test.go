package harness

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestStopwatch keeps this process from running, with more threads of its own than there are
// processors. The stopwatch counts much less than the time that has passed, but all of the time
// that passes undisturbed.
func TestStopwatch(t *testing.T) {
	const span = 200 * time.Millisecond
	if keptWaiting() == 0 {
		t.Skip("the kernel does not say how long threads wait")
	}
	threads := 4 * runtime.NumCPU()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads + 1))
	watch, began := StartStopwatch(), time.Now()
	var busy sync.WaitGroup
	for range threads {
		busy.Go(func() {
			for time.Since(began) < span {
			}
		})
	}
	busy.Wait()
	if elapsed, passed := watch.Elapsed(), time.Since(began); elapsed > passed/2 {
		t.Errorf("counted %v of %v with %d busy threads", elapsed, passed, threads)
	}
	watch, began = StartStopwatch(), time.Now()
	timer := time.NewTimer(span) // the test is about this time passing
	defer timer.Stop()
	<-timer.C
	passed := time.Since(began) // before the figures, which take time themselves
	if elapsed, kept := watch.Elapsed(), watch.Kept(); elapsed+kept < passed {
		t.Errorf("counted %v of %v, and %v without a processor", elapsed, passed, kept)
	}
}
