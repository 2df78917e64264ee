package mux

// This file is how the reader wakes callers that have their replies.
//
// As a rule the reader wakes each caller at once. If one goroutine wakes several, Go runs the last
// one next, and queues the others behind everything that waits for the same processor. Beside
// goroutines that compute, those callers would wait for a whole turn of all goroutines, after the
// reader has waited for one. So there the reader wakes only the first caller, and each caller wakes
// the next one before it goes on.

// wakes are the calls whose callers the reader wakes later: first must be woken, and each wakes the
// next one up to last. Both are nil without any.
type wakes struct{ first, last *Call }

// wakeSoon wakes the caller of c, which has ended: now, or when readFrames has handled what has
// come. Only the reader calls it.
func (cc *clientConn) wakeSoon(c *Call) {
	switch {
	case cc.reader.wakes.first != nil:
		cc.reader.wakes.last.wakes = c
	case cc.areProcessorsBusy():
		cc.reader.wakes.first = c
	default:
		c.wake <- struct{}{}
		return
	}
	cc.reader.wakes.last = c
}

// wakeRest wakes the callers that wakeSoon has put off. It runs before the reader waits, or gives
// its role away.
func (cc *clientConn) wakeRest() {
	first := cc.reader.wakes.first
	if first == nil {
		return
	}
	cc.reader.wakes.first, cc.reader.wakes.last = nil, nil
	first.wake <- struct{}{}
}

// awake is called by a caller that has just been woken.
func (c *Call) awake() {
	if next := c.wakes; next != nil {
		c.wakes = nil
		next.wake <- struct{}{}
	}
}
