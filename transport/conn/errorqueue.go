package conn

import "github.com/kiteline/kiteline/transport/poller"

// A socket's error queue holds what its owner has asked for with a socket option: timestamps, the
// end of a write without copying, errors of the network that do not end the connection. The kernel
// reports such an entry as an error for as long as nobody takes it, to everybody who waits for the
// socket. It is not ours to take, and tells nothing about the peer.
//
// A one-shot arming would report it again and again. So from its first entry on every arming of
// the connection stays: that reports it once. The connection then neither lingers nor is armed
// again by the sweep.

// errorQueued notes that the poller has reported an entry of the error queue, and reports whether
// there may be something to read for those who have armed. A hang-up arming that the entry has
// used up is set again.
func (c *Conn) errorQueued() (readable bool) {
	readable, err := c.lookBehindError()
	if err != nil {
		c.hangup(err)
	}
	return readable
}

// lookBehindError is errorQueued without the hang-up, for an error that ends the connection.
func (c *Conn) lookBehindError() (readable bool, end error) {
	c.armMu.Lock()
	defer c.armMu.Unlock()
	c.errQueue.Store(true)
	w := word(c.state.Load())
	reads := c.interest&poller.InterestRead != 0
	switch {
	case c.interest == 0, !w.isOpen(), w.has(flagHangup), w.holder() == holderUser:
		return false, nil
	case reads && w.holder() != holderWatched:
		return true, nil // a worker reads and sees
	}
	// The connection is armed for its user, or for a hang-up.
	err := c.sock.peek()
	if err != nil && err != errWouldBlock {
		return false, err
	}
	if c.interest&poller.InterestStay == 0 {
		_ = c.armLocked(c.interest) // not armed: the hang-up is found by the next read
	}
	return reads && err == nil, nil
}
