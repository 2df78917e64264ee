package netpollconn

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/conn"
)

// Conn is a conn.Conn with netpoll's methods. Make one with Of.
type Conn struct {
	*conn.Conn // the addresses, Close, IsActive, Err and the rest of conn's methods

	reader reader
	writer writer
}

// disconnectSetter is what Kitex's TTHeader streaming asserts besides netpoll.Connection.
type disconnectSetter interface {
	SetOnDisconnect(f netpoll.OnDisconnect) error
}

var (
	_ netpoll.Connection = (*Conn)(nil)
	_ disconnectSetter   = (*Conn)(nil)
)

// Of returns c as a netpoll.Connection, always the same one for the same c. It keeps that as c's
// attachment, so no other code may call SetAttachment. The first call must not overlap another:
// make it in OnPrepare, or before any other goroutine or callback has c.
func Of(c *conn.Conn) *Conn {
	if nc, ok := c.Attachment().(*Conn); ok {
		return nc
	}
	nc := &Conn{Conn: c}
	nc.reader = reader{from: c.Reader(), fails: ReadError, arrived: c.Arrived}
	nc.writer = writer{to: c.Writer(), of: c}
	c.SetAttachment(nc)
	return nc
}

// Reader implements netpoll.Connection. conn.Conn.Reader says what its methods wait for and how
// long slices are valid.
func (c *Conn) Reader() netpoll.Reader { return &c.reader }

// Writer implements netpoll.Connection. See conn.Conn.Writer.
func (c *Conn) Writer() netpoll.Writer { return &c.writer }

// Read implements net.Conn, except that the end of the stream is an *Error, as all other errors
// are.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.Conn.Read(p)
	return n, ReadError(err)
}

// Write implements net.Conn. It returns when the kernel has taken all of p, and does not keep p.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return n, WriteError(err)
}

// SetIdleTimeout implements netpoll.Connection; see conn.Conn.SetIdleTimeout. As in netpoll, zero
// or less changes nothing.
func (c *Conn) SetIdleTimeout(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	return WriteError(c.Conn.SetIdleTimeout(d))
}

// SetReadTimeout implements netpoll.Connection. As in netpoll it removes the read deadline, and a
// negative d leaves the timeout unchanged; otherwise see conn.Conn.SetReadTimeout. It always
// returns nil.
func (c *Conn) SetReadTimeout(d time.Duration) error {
	_ = c.Conn.SetReadDeadline(time.Time{}) // fails on a closed connection, as the next read does
	if d < 0 {
		return nil
	}
	return c.Conn.SetReadTimeout(d)
}

// SetWriteTimeout implements netpoll.Connection. As in netpoll it removes the write deadline, and a
// negative d leaves the timeout unchanged; otherwise see conn.Conn.SetWriteTimeout. It always
// returns nil.
func (c *Conn) SetWriteTimeout(d time.Duration) error {
	_ = c.Conn.SetWriteDeadline(time.Time{}) // fails on a closed connection, as the next write does
	if d < 0 {
		return nil
	}
	return c.Conn.SetWriteTimeout(d)
}

// SetReadDeadline implements net.Conn, except that it succeeds on a closed connection, as in
// netpoll.
func (c *Conn) SetReadDeadline(t time.Time) error { return unlessClosed(c.Conn.SetReadDeadline(t)) }

// SetWriteDeadline implements net.Conn, as SetReadDeadline does.
func (c *Conn) SetWriteDeadline(t time.Time) error { return unlessClosed(c.Conn.SetWriteDeadline(t)) }

// SetDeadline implements net.Conn, as SetReadDeadline does.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// unlessClosed is WriteError, except that it returns nil if this side has closed the connection.
func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return WriteError(err)
}

// SetOnRequest implements netpoll.Connection: it sets or replaces the request handler, which is
// called at once if bytes wait. A nil handler changes nothing. As in netpoll, an error that the
// handler returns has no effect. SetOnRequest fails with ErrConnClosed after Close.
func (c *Conn) SetOnRequest(on netpoll.OnRequest) error {
	if on == nil {
		return nil
	}
	return WriteError(c.Conn.SetOnRequest(func(ctx context.Context, _ *conn.Conn) error {
		_ = on(ctx, c)
		return nil
	}))
}

// SetOnDisconnect sets a function that is called, once, when the peer has closed, even while the
// request handler runs. Nil changes nothing.
func (c *Conn) SetOnDisconnect(on netpoll.OnDisconnect) error {
	if on != nil {
		c.Conn.SetOnDisconnect(func(ctx context.Context, _ *conn.Conn) { on(ctx, c) })
	}
	return nil
}

// AddCloseCallback implements netpoll.Connection: f is called once, last added first, when the
// connection has ended and no request handler runs. Its error is ignored. AddCloseCallback fails
// with ErrConnClosed if the callbacks have been called already.
func (c *Conn) AddCloseCallback(f netpoll.CloseCallback) error {
	if f == nil {
		return nil
	}
	return WriteError(c.Conn.AddCloseCallback(func(*conn.Conn) { _ = f(c) }))
}

// NetConn returns the socket below; see conn.Conn.NetConn.
func (c *Conn) NetConn() net.Conn { return c.Conn.NetConn() }
