package conn

import "slices"

// Offer says, inside OnRequest, that this call will read no more: it goes on
// with what it has taken, and if it still runs at the next tick of the sweep the
// reading side is taken from it. Then requests behind it do not wait for it:
// OnRequest is called for them by other workers, beside this call, and the worker
// that runs it goes home after it. What it has left unread is offered again with
// what comes next.
//
// Only the goroutine that OnRequest was called on may call it, once, after Pause if
// it wants both; from then on it must not use the Reader, whose slices have become
// invalid. The calls that run at the same time have to share the Writer among
// themselves. The close callbacks wait for all of them.
//
// Without a Group there is no sweep, and Offer is HandOff.
func (c *Conn) Offer() {
	c.offer()
	if c.group == nil {
		c.take()
	}
}

// HandOff is Offer, with the reading side taken at once. It costs an arming of the
// poller, or the wake-up of a worker where there is none, so it is for calls that are
// known to take their time.
func (c *Conn) HandOff() {
	c.offer()
	c.take()
}

// TakeOffered takes the reading side from an OnRequest that has offered it, as the sweep does at
// its next tick. If none has, or it has returned, it does nothing. It may be called from any
// goroutine, and does not block.
func (c *Conn) TakeOffered() { c.take() }

// Turn stands for a call of OnRequest.
type Turn struct{ word word }

// Turn returns the call of OnRequest that runs. Only the goroutine that it was called on may ask,
// before Offer.
func (c *Conn) Turn() Turn { return Turn{word(c.state.Load()).turn()} }

// KeepOpen says that the OnRequest of turn t has done all that it had to, although its goroutine
// ends: code that it called has called runtime.Goexit, and it has dealt with that. Then the
// connection goes on, read by others. It is called by a deferred function of that OnRequest.
func (c *Conn) KeepOpen(t Turn) {
	c.mu.Lock()
	c.keptOpen = append(c.keptOpen, t)
	c.mu.Unlock()
}

// isKeptOpen reports whether KeepOpen was called for t, and forgets it.
func (c *Conn) isKeptOpen(t Turn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.keptOpen, t)
	if i >= 0 {
		c.keptOpen = slices.Delete(c.keptOpen, i, i+1)
	}
	return i >= 0
}

func (c *Conn) offer() {
	if !c.inRequest {
		panic("conn: BUG: reading side offered outside of OnRequest, or twice")
	}
	c.markSeen()
	_ = c.in.Release()
	if c.group != nil {
		c.offeredAt.Store(c.group.sweeper.tick.Load())
	}
	c.transition(eventOffer)
	c.touch() // now: a sweep that saw it before may have dropped it, if the handler has taken long so far
}

// take takes the reading side from the handler that offered it, unless that has
// returned. The handler counts as work from before it loses the side until it returns,
// so that at no time nobody knows of it.
func (c *Conn) take() {
	if !c.BeginWork() {
		return
	}
	ev := eventTake
	if c.watcher == nil {
		ev = eventTakeUnwatched
	}
	c.armMu.Lock()
	act := c.transition(ev)
	err := c.armTakenLocked(act)
	c.armMu.Unlock()
	switch {
	case err != nil:
		// Elsewhere: the sweep may be who takes.
		c.spawn(func() { c.closeWith(opError("arm", c.remote, err)) })
	case act&actQueue != 0:
		c.enqueue()
	case act == actNone:
		c.EndWork()
	}
}

// armTakenLocked arms for what was taken from a handler, as act says. Where an arming
// stays it is made anew: what was reported before the handler was called, and is
// still in the socket, would not be reported again.
func (c *Conn) armTakenLocked(act action) error {
	switch {
	case act&actArm != 0:
		c.staying.Store(false)
		return c.armToRestLocked()
	case act&actWatch != 0:
		return c.armPausedLocked()
	}
	return nil
}

// handled ends a call of OnRequest that began in turn. It reports whether the
// call still had the reading side.
func (c *Conn) handled(turn word) bool {
	for {
		old := word(c.state.Load())
		if old.turn() != turn {
			return false
		}
		next, _ := old.on(eventHandled)
		if c.state.CompareAndSwap(uint64(old), uint64(next)) {
			return true
		}
	}
}
