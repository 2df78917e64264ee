package poller

import "sync/atomic"

// Stats is a snapshot of one poller. Its figures are read one after another, so they may be a
// batch apart.
type Stats struct {
	// Connections is the number of tokens in use.
	Connections int

	// Batches is the number of batches of events and Wakes handled, with one AfterBatch each.
	Batches uint64

	// Events is the number of OnReady calls in these batches.
	Events uint64

	// Wakeups is the number of Wakes that reached the loop, after coalescing.
	Wakeups uint64

	// Retired says that the poller's group no longer hands it out: it ends with its last token.
	Retired bool
}

// counters are written by the loop goroutine and read by any goroutine. They count from the start
// of the poller and wrap at 2^64.
type counters struct {
	batches atomic.Uint64
	events  atomic.Uint64
	wakeups atomic.Uint64
}

// Stats returns the poller's figures. It does not block, and works after Close.
func (p *Poller) Stats() Stats {
	p.mu.Lock()
	retired := p.phase == phaseRetired
	p.mu.Unlock()
	return Stats{
		Connections: p.Len(),
		Batches:     p.counters.batches.Load(),
		Events:      p.counters.events.Load(),
		Wakeups:     p.counters.wakeups.Load(),
		Retired:     retired,
	}
}
