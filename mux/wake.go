package mux

// This file is how the reader wakes callers that have their replies.
//
// As a rule it wakes each at once. Of several that one goroutine wakes, Go runs the last one next,
// and puts the others behind all that waits for the same processor. Where that is much, as beside
// goroutines that compute, those callers would wait for a whole turn of all goroutines, after the
// reader has waited for one. So there the reader wakes only the first, and each caller wakes the
// next one before it goes on.

// wakeSoon wakes the caller of c, which has ended, now or when readFrames has handled what has
// come. Only the reader calls it.
func (cc *clientConn) wakeSoon(c *Call) {
	switch {
	case cc.wakeFirst != nil:
		cc.wakeLast.wakes = c
	case cc.set.config.wakesInTurn || cc.out.AreProcessorsBusy():
		cc.wakeFirst = c
	default:
		c.wake <- struct{}{}
		return
	}
	cc.wakeLast = c
}

// wakeRest wakes those for whom wakeSoon has left that. It comes before the reader waits, or gives
// its role away.
func (cc *clientConn) wakeRest() {
	first := cc.wakeFirst
	if first == nil {
		return
	}
	cc.wakeFirst, cc.wakeLast = nil, nil
	first.wake <- struct{}{}
}

// awake is called by a caller that has just been woken.
func (c *Call) awake() {
	if next := c.wakes; next != nil {
		c.wakes = nil
		next.wake <- struct{}{}
	}
}
