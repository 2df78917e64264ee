package poller

// batchEvents limits the events taken from the kernel at once. It bounds how long OnReady calls, at
// 20-50 ns each, delay an AfterBatch. The runtime's own poller takes 128.
const batchEvents = 256

// delivery is an event on its way to its target: the token was in use and armed when the table was
// asked.
type delivery struct {
	target Target
	ready  Readiness
}

// loop is the poller's goroutine. It is started by openWith, belongs to the Poller, blocks in
// backend.wait only, and ends when the phase is phaseStopping or the wait fails. Only loop closes
// the backend.
func (p *Poller) loop() {
	for {
		n, err := p.backend.wait(p.events)
		if err != nil {
			p.fail(err)
			break
		}
		if n > 0 && !p.runBatch(p.events[:n]) {
			break
		}
	}
	p.kernelMu.Lock()
	p.kernelOpen = false
	p.closeErr = p.backend.close()
	p.kernelMu.Unlock()
	close(p.done)
}

// runBatch delivers events and reports whether to go on.
func (p *Poller) runBatch(events []event) bool {
	// The waker first: a Wake from here on makes an event of its own, and the AfterBatch below
	// answers an earlier one.
	for _, e := range events {
		if e.token == wakeToken {
			p.wakePending.Store(false)
			p.counters.wakeups.Add(1)
		}
	}
	if !p.resolve(events) {
		return false
	}
	for i := range p.deliveries {
		p.deliveries[i].target.OnReady(p.deliveries[i].ready)
	}
	p.counters.batches.Add(1)
	p.counters.events.Add(uint64(len(p.deliveries)))
	clear(p.deliveries) // so that it keeps no target alive
	if p.config.AfterBatch != nil {
		p.config.AfterBatch()
	}
	return true
}

// resolve turns events into deliveries, under mu once for all of them. Each delivery ends its
// arming, unless that stays. resolve drops the waker's events, those of tokens no longer in use,
// and those of tokens not armed. It reports whether the poller goes on.
func (p *Poller) resolve(events []event) bool {
	p.deliveries = p.deliveries[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == phaseStopping {
		return false
	}
	for _, e := range events {
		if e.token == wakeToken {
			continue
		}
		s := p.table.lookup(e.token)
		if s == nil || !s.state.isArmed() {
			continue
		}
		if s.state == slotArmed {
			s.state = slotQuiet
		}
		p.deliveries = append(p.deliveries, delivery{s.target, e.ready})
	}
	return true
}

// fail ends the poller after a wait that cannot be repeated. Every target gets a Hangup, so that
// none waits forever. It learns the rest from its descriptor, and from the refusal of the next Arm.
func (p *Poller) fail(err error) {
	p.mu.Lock()
	p.failure = &waitFailure{cause: opError("wait", err)}
	p.setPhaseLocked(causeClose)
	targets := p.table.targets()
	p.mu.Unlock()
	for _, target := range targets {
		target.OnReady(Hangup)
	}
	if p.config.AfterBatch != nil {
		p.config.AfterBatch()
	}
}
