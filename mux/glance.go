package mux

// This file is how callers read where the processors are busy with other work.
//
// A caller that waits for bytes then goes on late: the goroutines that compute have their turns
// first, 10 ms each. Meanwhile the reading role is the waiting caller's, although other callers
// run, and the replies are often there as soon as a request was written, since the kernel lets a
// server that has slept go first. So each caller reads what has come once it has sent, and leaves
// the rest to the poller, or to the next caller that sends.

// areProcessorsBusy reports whether goroutines wait long for a processor.
func (cc *clientConn) areProcessorsBusy() bool {
	return cc.set.config.busy || cc.out.AreProcessorsBusy()
}

// prefersGlances reports whether a caller had better not wait for bytes. One that is alone may: it
// holds up no other.
func (cc *clientConn) prefersGlances() bool {
	return cc.polled && cc.places.load.Load() > 1 && cc.areProcessorsBusy()
}

// glance reads what has come, for all callers. If c has not ended by then, its caller becomes a
// follower, and the poller watches. It returns the state of c.
func (cc *clientConn) glance(c *Call) callState {
	cc.mu.Lock()
	cc.roles.mayWait = false // it does not wait, so nothing calls it back
	cc.mu.Unlock()
	for {
		for more := true; more && !cc.stateOf(c).isFinal(); {
			more = cc.takeArrived()
		}
		cc.mu.Lock()
		back := !c.state.isFinal() && cc.roles.stepBack(c)
		state := c.state
		cc.mu.Unlock()
		switch {
		case back:
			cc.watchNow()
			return state
		case state.isFinal():
			return state
		}
	}
}

// allowRecall is called by a leader that is about to wait and has set the read deadline, which may
// have undone the kick of a recall.
func (cc *clientConn) allowRecall() {
	cc.mu.Lock()
	cc.roles.mayWait = true
	cc.mu.Unlock()
}
