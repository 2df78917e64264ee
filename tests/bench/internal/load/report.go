// Package load puts servers to work: closed loops, in which each caller calls
// again when it has its answer, and open loops, in which calls are due at fixed
// times whether or not earlier ones have been answered.
package load

import (
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the result of a load. Latencies are in µs, to three digits as in the histogram.
type Report struct {
	Calls   int64
	Elapsed time.Duration // from the beginning of the first call to the end of the last
	P50     float64
	P99     float64
	P999    float64
	Max     float64
	Late    float64 // 99th percentile of how late an open loop's calls began although a caller waited
}

// longest is the longest latency that a histogram records; a call that takes longer fails the run.
const longest = time.Minute

// newHistogram holds latencies in nanoseconds.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(longest), 3)
}

// record is a histogram that several callers add to.
type record struct {
	mu        sync.Mutex
	latencies *hdrhistogram.Histogram // guarded by mu
}

// add adds a latency. A latency that a clock's step made negative counts as the least.
func (r *record) add(latency time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.latencies.RecordValue(int64(max(latency, 1))); err != nil {
		return fmt.Errorf("a call took %v, more than %v", latency, longest)
	}
	return nil
}

func newReport(h *hdrhistogram.Histogram, elapsed time.Duration) Report {
	micros := func(nanos int64) float64 { return float64(nanos) / 1e3 }
	return Report{
		Calls:   h.TotalCount(),
		Elapsed: elapsed,
		P50:     micros(h.ValueAtQuantile(50)),
		P99:     micros(h.ValueAtQuantile(99)),
		P999:    micros(h.ValueAtQuantile(99.9)),
		Max:     micros(h.Max()),
	}
}
