package poller

// Wake makes the loop run once, even without an event: a whole call of AfterBatch begins after the
// call of Wake. Any number of Wakes before the loop comes round cost one system call and cause one
// call of AfterBatch. Wake does not wait for it. After Close it does nothing.
func (p *Poller) Wake() {
	// Load first: waking a poller that is already being woken shares the cache line.
	if p.wakePending.Load() || p.wakePending.Swap(true) {
		return
	}
	p.kernelMu.RLock()
	defer p.kernelMu.RUnlock()
	if p.kernelOpen {
		p.backend.wake()
	}
}
