package conn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/transport/buffer"
)

// input is a connection's reading side: what was received, and the waits for more.
//
// It has one owner at a time, the holder of the reading side, which says how the next bytes are
// waited for. While readers is not 0 no other goroutine reads, and the connection is not idle.
type input struct {
	// owned by the holder of the reading side
	buf       buffer.LinkBuffer
	received  uint64 // bytes ever put into buf
	lastSpace int32  // most that the last read could take: after as much, more may wait

	readers atomic.Int32 // goroutines that read for a user or a handler

	mu    sync.Mutex // serializes Read
	limit limit      // of the wait under way and the next ones
}

// put makes n bytes readable that were read into the space of the last Reserve.
func (in *input) put(n int) {
	in.buf.Commit(n)
	in.received += uint64(n)
}

// commit makes n bytes of space readable. It returns err only if there are none.
func (in *input) commit(space []byte, n int, err error) (int, error) {
	in.lastSpace = int32(min(len(space), timedBytes)) // a read's limit (sys_linux.go)
	in.put(n)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// taken returns how many bytes were ever taken out of buf.
func (in *input) taken() uint64 { return in.received - uint64(in.buf.Len()) }

// source is a Conn as its own Reader sees it. It keeps Fill out of Conn's methods.
type source Conn

var _ buffer.Source = (*source)(nil)

// Fill implements buffer.Source: it waits until need bytes are readable, at most the read timeout
// in all.
func (s *source) Fill(b *buffer.LinkBuffer, need int) error {
	c := (*Conn)(s)
	if err := c.beginRead(); err != nil {
		return err
	}
	c.input.readers.Add(1)
	defer c.endRead()
	for b.Len() < need {
		n, err := c.readOnce(b.Reserve(0))
		c.input.put(n)
		if err == io.EOF && b.Len() > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Read implements net.Conn. It takes what is buffered first, and otherwise
// reads from the socket straight into p.
func (c *Conn) Read(p []byte) (int, error) {
	c.input.mu.Lock()
	defer c.input.mu.Unlock()
	if c.input.buf.Len() > 0 && word(c.state.Load()).isOpen() {
		n := min(len(p), c.input.buf.Len())
		buffered, err := c.input.buf.Next(n)
		copy(p, buffered)
		return n, errors.Join(err, c.input.buf.Release())
	}
	if err := c.beginRead(); err != nil || len(p) == 0 {
		return 0, err
	}
	c.input.readers.Add(1)
	defer c.endRead()
	return c.readOnce(p)
}

// beginRead prepares a read for a user or a handler.
func (c *Conn) beginRead() error {
	w := word(c.state.Load())
	if !w.isOpen() {
		return opError("read", c.remote, net.ErrClosed)
	}
	if w.has(flagHangup) {
		if err := c.socketError(); err != nil {
			return err
		}
	}
	if w.holder() == holderWatched || w.has(flagUnread) {
		c.use()
	}
	c.touch()
	if err := c.input.limit.begin(); err != nil {
		return c.readFailed(err)
	}
	return nil
}

// socketError returns the kernel's error that the connection has met, if there is one and nothing
// is left to read. A write, or a look at the socket, may have met it instead of the reader, and the
// kernel reports it only once.
func (c *Conn) socketError() error {
	var kernel *os.SyscallError
	if err := c.Err(); c.raw && errors.As(err, &kernel) && c.sock.peek() == errWouldBlock {
		return err
	}
	return nil
}

// endRead ends a read for a user or a handler, however long it waited.
func (c *Conn) endRead() {
	if !word(c.state.Load()).isServed() {
		c.markUsed() // before it is at rest: the wait may have been long
	}
	c.input.readers.Add(-1)
	c.enlist() // now: a sweep that saw it read may have dropped it
}

// readOnce waits for bytes and reads them into p. A deadline of the socket that is not this wait's
// own does not end the wait.
func (c *Conn) readOnce(p []byte) (int, error) {
	for {
		n, err := c.sock.waitRead(p)
		if err == nil || n > 0 {
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, c.readFailed(err)
		}
		if err := c.readExpired(); err != nil {
			return 0, err
		}
	}
}

// readExpired decides on a wait for data that the socket's deadline ended. nil
// means that the wait goes on.
func (c *Conn) readExpired() error {
	over, err := c.input.limit.expired()
	switch {
	case err != nil:
		return c.readFailed(err)
	case over:
		return opError("read", c.remote, os.ErrDeadlineExceeded)
	}
	return nil
}

// readFailed records that the socket gave err and returns what the reader gets.
func (c *Conn) readFailed(err error) error {
	if !word(c.state.Load()).isOpen() {
		return opError("read", c.remote, net.ErrClosed)
	}
	if isPeerGone(err) {
		c.hangup(err)
	}
	return opError("read", c.remote, err)
}

// SetReadDeadline implements net.Conn. A deadline replaces the read timeout until the zero time
// removes the deadline. Neither a step of the wall clock nor a suspension of the machine makes it
// pass: a t without a monotonic reading is converted once, by what the wall clock shows at the
// call.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.input.limit, t) }

// setDeadline sets or removes a limit's deadline. Removing a deadline that is not set costs no
// lock: netpoll's setters of timeouts remove it each time.
func (c *Conn) setDeadline(l *limit, t time.Time) error {
	if t.IsZero() && !l.hasDeadline() && word(c.state.Load()).isOpen() {
		return nil
	}
	return opError("set deadline", c.remote, l.setDeadline(t))
}

// SetReadTimeout limits each later wait for data to d, unless a read deadline is set. Most methods
// wait at most once. Until waits anew after each arrival, and a method that returns more than about
// 1 MiB waits a few times; each of these waits may take d. So a peer that sends a byte within each
// d keeps Until waiting: SetReadDeadline limits the whole call. Zero or less means no limit. It
// always returns nil.
func (c *Conn) SetReadTimeout(d time.Duration) error {
	c.input.limit.setTimeout(d)
	return nil
}

// SetDeadline implements net.Conn; see SetReadDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
