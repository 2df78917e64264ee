package poller

// Wake makes the loop run once, even without an event: AfterBatch is called, and that call begins
// after Wake was called. Several Wakes before the loop runs cost one system call and cause one call
// of AfterBatch. Wake does not wait for it. After Close it does nothing.
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
