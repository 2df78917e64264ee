package conn

// Offer says, inside OnRequest, that this call reads no more. The call goes on with what it has
// taken. If it still runs at the next tick of the sweep, the reading side is taken from it: other
// workers call OnRequest for later requests, beside this call. What the call has left unread is
// passed to OnRequest again with what comes next.
//
// Only the goroutine that OnRequest was called on may call it, once, and after Pause if it calls
// both; outside of OnRequest, and a second time, it panics. From then on the call must not use the
// Reader, whose slices are invalid. Calls that run at the same time must share the Writer among
// themselves. The close callbacks wait for all of them.
//
// Without a Group there is no sweep, and Offer does what HandOff does.
func (c *Conn) Offer() {
	c.offer()
	if c.group == nil {
		c.take()
	}
}

// HandOff is Offer with the reading side taken at once. It costs an arming of the poller, or
// without a poller the wake-up of a worker, so it is for calls that are known to take long.
func (c *Conn) HandOff() {
	c.offer()
	c.take()
}

// TakeOffered takes the reading side from an OnRequest that has offered it, as the sweep does at
// its next tick. If no call has offered it, or that call has returned, TakeOffered does nothing. It
// may be called from any goroutine, and does not block.
func (c *Conn) TakeOffered() { c.take() }

// Turn stands for a call of OnRequest.
type Turn struct{ word word }

// Turn returns the call of OnRequest that runs. Only the goroutine that OnRequest was called on may
// call it, before Offer.
func (c *Conn) Turn() Turn { return Turn{word(c.state.Load()).turn()} }

// KeepOpen says that the OnRequest of turn t has finished its work although its goroutine ends: it
// has dealt with a runtime.Goexit in code that it called. The connection then stays open, and
// another worker reads it. A deferred function of that OnRequest calls KeepOpen.
func (c *Conn) KeepOpen(t Turn) {
	c.callbacks.keepOpen(t)
}

func (c *Conn) offer() {
	if !c.serving.running {
		panic("conn: BUG: reading side offered outside of OnRequest, or twice")
	}
	c.serving.markSeen(&c.input)
	_ = c.input.buf.Release()
	if c.group != nil {
		c.serving.offeredAt.Store(c.group.sweeper.tick.Load())
	}
	c.transition(eventOffer)
	c.touch() // now: a sweep may have dropped it while the handler ran
}

// take takes the reading side from the handler that offered it, unless the handler has returned.
// The handler counts as work from before it loses the reading side until it returns, so that it is
// always counted.
func (c *Conn) take() {
	if !c.BeginWork() {
		return
	}
	ev := eventTake
	if !c.arming.hasPoller() {
		ev = eventTakeUnwatched
	}
	c.arming.mu.Lock()
	act := c.transition(ev)
	err := c.armTakenLocked(act)
	c.arming.mu.Unlock()
	switch {
	case err != nil:
		// Elsewhere: the caller may be the sweep.
		c.spawn(func() { c.closeWith(opError("arm", c.remote, err)) })
	case act&actQueue != 0:
		c.enqueue()
	case act == actNone:
		c.EndWork()
	}
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
