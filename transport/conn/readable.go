package conn

import (
	"context"
	"errors"
	"io"

	"github.com/kiteline/kiteline/internal/callback"
)

// This file is for the user of a connection without a request handler who does not read all the
// time, and wants no goroutine that waits for what may come.

// SetOnReadable has f called, on a worker, when bytes have come on a connection in its user's hands
// that is not read: after a tick of the sweep in which it was not read, however often it was
// written, or at once after Watch. f may read, with TakeArrived, if it makes sure that no other
// goroutine does. f must not wait for more. Bytes that f leaves are reported again while the
// connection is not read. One call of f may run beside another. The peer's end is reported to
// OnDisconnect instead.
//
// The error matches errors.ErrUnsupported, and f is never called, where no poller watches the
// connection. f is not called either once there is an OnRequest.
func (c *Conn) SetOnReadable(f func(ctx context.Context, c *Conn)) error {
	if c.watcher == nil {
		return opError("set handler", c.remote, errors.ErrUnsupported)
	}
	c.mu.Lock()
	c.onReadable = f
	c.mu.Unlock()
	c.tells.Store(f != nil)
	if word(c.state.Load()).has(flagUnread) {
		c.use() // what has come before was told to nobody
	}
	c.touch()
	return nil
}

// Watch has the poller watch a connection in its user's hands from now on, instead of after a tick
// without use. While a goroutine reads, that goroutine sees what comes, and Watch does nothing. The
// next use ends the watch, as always: the next read where there is an OnReadable.
//
// It reports whether something will tell of what comes: false if no poller watches the connection,
// if the peer has closed, or if the connection has ended. It may be called from any goroutine.
func (c *Conn) Watch() bool {
	if c.watcher == nil {
		return false
	}
	if word(c.state.Load()).holder() != holderWatched {
		c.watchUser()
	}
	w := word(c.state.Load())
	return w.isOpen() && !w.has(flagHangup)
}

// TakeArrived reads bytes that have arrived into the Reader's buffer, once and without waiting, and
// returns how many: none, without an error, if there are none now, or if the connection is on no
// socket that can be asked. It fails as a read by the Reader does. Only the owner of the reading
// side may call it.
func (c *Conn) TakeArrived() (int, error) {
	if err := c.beginRead(); err != nil {
		return 0, err
	}
	c.readers.Add(1)
	defer c.endRead()
	n, err := c.sock.tryRead(c.in.Reserve(0))
	c.in.Commit(n)
	c.received += uint64(n)
	switch {
	case n > 0 || err == errWouldBlock:
		return n, nil
	case err == io.EOF && c.in.Len() > 0:
		err = io.ErrUnexpectedEOF
	}
	return 0, c.readFailed(err)
}

// tellReadable has OnReadable called on a worker.
func (c *Conn) tellReadable() {
	c.mu.Lock()
	f := c.onReadable
	tell := f != nil && c.beginAsideLocked()
	c.mu.Unlock()
	if tell {
		c.spawn(func() { c.readable(f) })
	}
}

// readable calls f. If it has left bytes unread the sweep is to arm for more reading, not for a
// hang-up alone.
func (c *Conn) readable(f func(ctx context.Context, c *Conn)) {
	callback.Run(
		func() { f(c.Context(), c) },
		func(failure *callback.Failure) {
			if failure != nil {
				_ = c.failed(failure)
			}
			if word(c.state.Load()).has(flagUnread) {
				c.use()
				c.touch()
			}
			c.endAside()
		})
}
