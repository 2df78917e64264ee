package poller

// phase says where a Poller is in its life.
//
//	open ──retire──▶ retired ──last token──▶ stopping ──loop ends──▶ (done closed)
//	  └────────close, retire without tokens───▲
type phase uint8

const (
	// phaseOpen: everything works. Left by Close, a failed wait, and the group's retire.
	phaseOpen phase = iota

	// phaseRetired: its group no longer hands it out, everything else works. Left by the release of
	// the last token, by Close and by a failed wait.
	phaseRetired

	// phaseStopping: Add and Arm are refused, the loop is about to end or has ended. Final.
	phaseStopping
)

// String returns the phase's name.
func (p phase) String() string {
	switch p {
	case phaseOpen:
		return "open"
	case phaseRetired:
		return "retired"
	case phaseStopping:
		return "stopping"
	}
	return "invalid"
}

// phaseCause is a reason for a change of phase.
type phaseCause uint8

const (
	causeClose   phaseCause = iota // Close was called, or the wait failed
	causeRetire                    // the group was resized
	causeRelease                   // a token was freed
)

// String returns the cause's name.
func (c phaseCause) String() string {
	switch c {
	case causeClose:
		return "close"
	case causeRetire:
		return "retire"
	case causeRelease:
		return "release"
	}
	return "invalid"
}

// nextPhase returns the phase after cause, in a poller with so many tokens left.
func nextPhase(now phase, cause phaseCause, tokens int) phase {
	switch {
	case now == phaseStopping, cause == causeClose:
		return phaseStopping
	case cause == causeRetire && tokens > 0:
		return phaseRetired
	case cause == causeRetire:
		return phaseStopping
	case now == phaseRetired && tokens == 0:
		return phaseStopping
	}
	return now
}

// setPhaseLocked applies cause and reports whether that stopped the poller. The caller, who holds
// mu, must then release its locks and call Wake, so that the loop looks.
func (p *Poller) setPhaseLocked(cause phaseCause) (stopped bool) {
	before := p.phase
	p.phase = nextPhase(before, cause, p.table.live)
	return p.phase == phaseStopping && before != phaseStopping
}

// stop applies cause and reports what setPhaseLocked does.
func (p *Poller) stop(cause phaseCause) (stopped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.setPhaseLocked(cause)
}

// retire makes the poller end with its last token, or now if it has none. It does not wait, and
// may be called on the poller's own goroutine.
func (p *Poller) retire() {
	if p.stop(causeRetire) {
		p.Wake()
	}
}

// ended reports whether the poller's goroutine is gone.
func (p *Poller) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
