package harness

import (
	"runtime"
	"time"
)

// heapInterval leaves most of the processors' time to what is measured.
const heapInterval = 50 * time.Millisecond

// LiveHeap returns how many bytes of the heap are in use. It collects garbage twice: the second
// collection frees what a sync.Pool holds.
func LiveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// PeakHeap returns the largest result of LiveHeap until done is closed.
func PeakHeap(done <-chan struct{}) int64 {
	ticker := time.NewTicker(heapInterval)
	defer ticker.Stop()
	for peak := LiveHeap(); ; peak = max(peak, LiveHeap()) {
		select {
		case <-done:
			return peak
		case <-ticker.C:
		}
	}
}
