package conn

import "github.com/kiteline/kiteline/transport/poller"

// A socket's error queue holds what its owner has asked for with a socket option: timestamps, the
// end of a write without copying, network errors that do not end the connection. Until an entry is
// taken, the kernel reports it as an error to every waiter on the socket. It is not this package's
// to take, and says nothing about the peer.
//
// A one-shot arming would report it again and again. So from the first entry on every arming of the
// connection stays, which reports an entry once. The connection then does not linger, and the sweep
// does not arm it again.

// errorQueued notes that the poller has reported an entry of the error queue, and reports whether
// there may be something to read for which the connection was armed. A one-shot arming that the
// entry has used up is made again.
func (c *Conn) errorQueued() (readable bool) {
	readable, err := c.lookBehindError()
	if err != nil {
		c.hangup(err)
	}
	return readable
}

// lookBehindError is errorQueued, but returns an error that ends the connection instead of
// recording it.
func (c *Conn) lookBehindError() (readable bool, end error) {
	c.arming.mu.Lock()
	defer c.arming.mu.Unlock()
	c.arming.errQueue.Store(true)
	w := word(c.state.Load())
	reads := c.arming.interest&poller.InterestRead != 0
	switch {
	case c.arming.interest == 0, !w.isOpen(), w.has(flagHangup), w.holder() == holderUser:
		return false, nil
	case reads && w.holder() != holderWatched:
		return true, nil // a worker reads and sees
	}
	// The connection is armed for its user, or for a hang-up.
	err := c.sock.peek()
	if err != nil && err != errWouldBlock {
		return false, err
	}
	if c.arming.interest&poller.InterestStay == 0 {
		_ = c.armLocked(c.arming.interest) // not armed: the hang-up is found by the next read
	}
	return reads && err == nil, nil
}
