package conn

import (
	"context"
	"errors"
	"io"

	"github.com/kiteline/kiteline/internal/callback"
)

// This file serves users of connections without a request handler who do not read all the time, and
// want no goroutine to wait for what may come.

// SetOnReadable makes the package call f on a worker when bytes have come on a connection without
// OnRequest that its user does not read: after a tick of the sweep without a read, however often it
// was written, or at once after Watch. f may read with TakeArrived if no other goroutine reads, and
// must not wait for more. Bytes that f leaves are reported again while the connection is not read.
// Calls of f may overlap. The peer's end is reported to OnDisconnect instead.
//
// The error matches errors.ErrUnsupported, and f is never called, where no poller watches the
// connection. Once there is an OnRequest, f is no longer called.
func (c *Conn) SetOnReadable(f func(ctx context.Context, c *Conn)) error {
	if !c.arming.hasPoller() {
		return opError("set handler", c.remote, errors.ErrUnsupported)
	}
	c.callbacks.mu.Lock()
	c.callbacks.onReadable = f
	c.callbacks.mu.Unlock()
	c.usage.tells.Store(f != nil)
	if word(c.state.Load()).has(flagUnread) {
		c.use() // f was not told of what came before
	}
	c.touch()
	return nil
}

// Watch makes the poller watch a connection without OnRequest from now on, instead of after a tick
// without use. While a goroutine reads, Watch does nothing, since that goroutine sees what comes:
// one that has taken what had arrived, and leaves the connection to the poller, calls Watch
// afterwards. As always the next use ends the watch; after SetOnReadable only a read counts as use.
//
// It reports whether what comes will be noticed: false if no poller watches the connection, if the
// peer has closed, or if the connection has ended. It may be called from any goroutine.
func (c *Conn) Watch() bool {
	if !c.arming.hasPoller() {
		return false
	}
	if word(c.state.Load()).holder() != holderWatched {
		c.watchUser()
	}
	w := word(c.state.Load())
	return w.isOpen() && !w.has(flagHangup)
}

// TakeArrived reads bytes that have arrived into the Reader's buffer, once and without waiting, and
// returns how many: none, without an error, if there are none now, or if the socket cannot be read
// without waiting. It fails as a read by the Reader does. Only the owner of the reading side may
// call it.
func (c *Conn) TakeArrived() (int, error) {
	if err := c.beginRead(); err != nil {
		return 0, err
	}
	c.input.readers.Add(1)
	defer c.endRead()
	n, err := c.sock.tryRead(c.input.buf.Reserve(0))
	c.input.put(n)
	switch {
	case n > 0 || err == errWouldBlock:
		return n, nil
	case err == io.EOF && c.input.buf.Len() > 0:
		err = io.ErrUnexpectedEOF
	}
	return 0, c.readFailed(err)
}

// tellReadable has OnReadable called on a worker.
func (c *Conn) tellReadable() {
	if f := c.callbacks.beginReadable(); f != nil {
		c.spawn(func() { c.readable(f) })
	}
}

// readable calls f. If f has left bytes unread, it makes the sweep arm for reading again, not for a
// hang-up alone.
func (c *Conn) readable(f func(ctx context.Context, c *Conn)) {
	callback.Run(
		func() { f(c.Context(), c) },
		func(failure *callback.Failure) {
			if failure != nil {
				_ = c.failed(failure)
			}
			if c.useUnread() {
				c.touch()
			}
			c.endAside()
		})
}
