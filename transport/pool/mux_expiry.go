package pool

import (
	"maps"
	"slices"
	"time"
)

// This file is how a Mux gives addresses up. A target is in targets first. Clean, Close and,
// when no call uses it, expire move it to retired, where no new call finds it. When it has no
// connection left it is closed, and its counts are added to forgotten. All three are changed with
// mu held, so that each count is in exactly one place.

// now returns the time on the pool's clock.
func (p *Mux) now() instant { return time.Since(p.start) }

// planExpiryLocked schedules expire for the targets there are now.
func (p *Mux) planExpiryLocked() {
	now := p.now()
	p.expiry.schedule(later(now, p.config.forgetAfter()), now)
}

// expire forgets the addresses that have no connection and that no call has wanted since it last
// ran. It closes the retired targets that have no connection left. It runs on the timer's
// goroutine.
func (p *Mux) expire() {
	p.targets.Range(func(addr, value any) bool {
		if t, _ := value.(*muxTarget); !t.used.Swap(false) && p.forget(addr, t) {
			p.finish(t)
		}
		return true
	})
	p.mu.Lock()
	retired := slices.Collect(maps.Keys(p.retired))
	p.mu.Unlock()
	for _, t := range retired {
		p.end(t)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	left := len(p.retired) > 0
	p.targets.Range(func(any, any) bool { left = true; return false })
	if left {
		p.planExpiryLocked()
	}
}

// forget retires t, addr's target, unless it is in use. It reports whether it did.
func (p *Mux) forget(addr any, t *muxTarget) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if current, _ := p.targets.Load(addr); current != t || !t.CloseIfUnused() {
		return false
	}
	p.retireLocked(addr, t)
	return true
}

// retireLocked takes t, addr's target, from the targets that calls find.
func (p *Mux) retireLocked(addr any, t *muxTarget) {
	p.targets.Delete(addr)
	p.retired[t] = struct{}{}
}

// end drains the connections of a retired target, which take no new calls, and closes the target if
// it has no connection left. The target may have opened one since it was retired, for a call that
// had found it before.
func (p *Mux) end(t *muxTarget) {
	t.Drain()
	if t.CloseIfUnused() {
		p.finish(t)
	}
}

// finish closes a retired target and keeps its counts.
func (p *Mux) finish(t *muxTarget) {
	_ = t.Close() // always nil
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, retired := p.retired[t]; retired {
		delete(p.retired, t)
		p.forgotten.Add(t.Stats())
	}
}

// Clean implements remote.LongConnPool: the connections to address take no new calls and
// are closed when those in flight are over. Later calls to address open new ones.
func (p *Mux) Clean(network, address string) {
	addr := netAddr{network, address}
	p.mu.Lock()
	t := p.lookup(addr)
	if t != nil {
		p.retireLocked(addr, t)
	}
	p.mu.Unlock()
	p.apart.Clean(network, address)
	if t != nil {
		p.end(t)
	}
}

// Close implements remote.ConnPool: calls in flight fail with mux.ErrClosed, and later ones with
// ErrClosed. It waits for dials in progress. Closing again does nothing.
func (p *Mux) Close() error {
	p.mu.Lock()
	p.closed = true
	p.targets.Range(func(addr, value any) bool {
		t, _ := value.(*muxTarget)
		p.retireLocked(addr, t)
		return true
	})
	retired := slices.Collect(maps.Keys(p.retired))
	p.mu.Unlock()
	p.expiry.stop()
	_ = p.apart.Close() // always nil
	p.apart.cut()
	for _, t := range retired {
		p.finish(t)
	}
	return nil
}
