package conn

// Pause says, inside OnRequest and before Offer, that the handler wants no more for now. Once
// OnRequest has returned, or has lost the reading side, nothing is read from the connection until
// Resume, so that TCP holds the peer back. After Resume, OnRequest is called with what it has left
// unread, even if nothing has come meanwhile. Only the goroutine that OnRequest was called on may
// call Pause. Outside of OnRequest it panics.
func (c *Conn) Pause() {
	if !c.serving.running {
		panic("conn: BUG: pause outside of OnRequest")
	}
	c.serving.paused = true
	c.transition(eventPause)
}

// Resume ends what Pause began, even if the OnRequest that called it has not returned yet. Without
// a Pause it does nothing. It reports whether the connection is open. It does not block and may be
// called from any goroutine.
func (c *Conn) Resume() bool {
	if c.transition(eventResumeReading)&actQueue != 0 {
		c.enqueue()
	}
	return word(c.state.Load()).isOpen()
}

// restPaused lets go of a connection whose OnRequest has paused it. It reports
// true, and the caller keeps it, if Resume came meanwhile.
func (c *Conn) restPaused() bool {
	c.arming.mu.Lock()
	act := c.transition(eventRestPaused)
	if act&actWatch != 0 {
		_ = c.armPausedLocked() // not armed: the hang-up is found by the next read
	}
	c.arming.mu.Unlock()
	if act&actTeardown != 0 {
		c.teardown()
	}
	return act&actKick != 0
}

// awaitCalm lets go of a connection that the peer has closed while work goes on beside the
// callbacks. The peer may still want the results: it may have closed only its own direction. If
// there is no such work, awaitCalm reports false.
func (c *Conn) awaitCalm() bool {
	act := c.transition(eventAwaitCalm)
	if act&actTeardown != 0 {
		c.teardown()
	}
	return act&actKick == 0
}
