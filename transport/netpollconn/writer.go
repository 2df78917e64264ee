package netpollconn

import (
	"net"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// writer is a buffer.Writer with netpoll's errors. It also takes what was written into a netpoll
// LinkBuffer. As in netpoll, all methods that write fail once this side has closed the connection,
// and negative lengths are ignored.
type writer struct {
	to buffer.Writer
	of *conn.Conn // immutable

	// Private netpoll buffers whose bytes to refers to and has not flushed yet. Owned by the
	// writing side.
	appended []*netpoll.LinkBuffer
}

var _ netpoll.Writer = (*writer)(nil)

// closedError returns the error of a write after Close; nil before Close.
func (w *writer) closedError() error {
	if !w.of.IsClosed() {
		return nil
	}
	return WriteError(&conn.OpError{Op: "write", Addr: w.of.RemoteAddr(), Err: net.ErrClosed})
}

// Malloc implements netpoll.Writer.
func (w *writer) Malloc(n int) ([]byte, error) {
	if err := w.closedError(); err != nil {
		return nil, err
	}
	p, err := w.to.Malloc(max(n, 0))
	return p, WriteError(err)
}

// MallocAck implements netpoll.Writer.
func (w *writer) MallocAck(n int) error {
	if err := w.closedError(); err != nil {
		return err
	}
	return WriteError(w.to.MallocAck(n))
}

// MallocLen implements netpoll.Writer. It is 0 after Close.
func (w *writer) MallocLen() int {
	if w.of.IsClosed() {
		return 0
	}
	return w.to.MallocLen()
}

// WriteString implements netpoll.Writer.
func (w *writer) WriteString(s string) (int, error) {
	if err := w.closedError(); err != nil {
		return 0, err
	}
	n, err := w.to.WriteString(s)
	return n, WriteError(err)
}

// WriteBinary implements netpoll.Writer.
func (w *writer) WriteBinary(p []byte) (int, error) {
	if err := w.closedError(); err != nil {
		return 0, err
	}
	n, err := w.to.WriteBinary(p)
	return n, WriteError(err)
}

// WriteByte implements netpoll.Writer.
func (w *writer) WriteByte(b byte) error {
	if err := w.closedError(); err != nil {
		return err
	}
	return WriteError(w.to.WriteByte(b))
}

// WriteDirect implements netpoll.Writer.
func (w *writer) WriteDirect(p []byte, remainCap int) error {
	if err := w.closedError(); err != nil {
		return err
	}
	if len(p) == 0 || remainCap < 0 {
		return nil
	}
	return WriteError(w.to.WriteDirect(p, remainCap))
}

// Append takes the bytes of a *netpoll.LinkBuffer, or of another connection's Writer of this
// package, and leaves it empty. For any other Writer, and for the connection's own, it fails with
// netpoll.ErrUnsupported. If it fails nothing was moved.
func (w *writer) Append(other netpoll.Writer) error {
	if err := w.closedError(); err != nil {
		return err
	}
	switch o := other.(type) {
	case *writer:
		return w.appendWriter(o)
	case *netpoll.LinkBuffer:
		return w.appendLinkBuffer(o)
	}
	return netpoll.Exception(netpoll.ErrUnsupported, "append of an unknown writer")
}

func (w *writer) appendWriter(o *writer) error {
	if o == w {
		return netpoll.Exception(netpoll.ErrUnsupported, "append of a writer to itself")
	}
	if err := w.to.Append(o.to); err != nil {
		return WriteError(err)
	}
	w.appended = append(w.appended, o.appended...)
	clear(o.appended)
	o.appended = o.appended[:0]
	return nil
}

// appendLinkBuffer links b's bytes by reference. It first moves them to a private buffer, which is
// closed after the flush: as with netpoll's Append, the owner of b may close or release b before
// that.
func (w *writer) appendLinkBuffer(b *netpoll.LinkBuffer) error {
	if b == nil || b.Len()+b.MallocLen() == 0 {
		return nil
	}
	if _, err := w.to.Malloc(0); err != nil {
		return WriteError(err)
	}
	own := netpoll.NewLinkBuffer()
	if err := own.Append(b); err != nil {
		return err
	}
	if err := own.Flush(); err != nil {
		return err
	}
	w.appended = append(w.appended, own)
	// GetBytes(nil) leaves out the last node in netpoll v0.7.3, and a slice given to it limits how
	// many it returns, so this asks several times.
	for own.Len() > 0 {
		if err := w.linkSome(own); err != nil {
			return WriteError(err)
		}
	}
	return nil
}

// linkSome links a few of b's slices and takes them out of b.
func (w *writer) linkSome(b *netpoll.LinkBuffer) error {
	linker, ok := w.to.(buffer.Linker)
	var scratch [16][]byte
	taken := 0
	for _, p := range b.GetBytes(scratch[:]) {
		var err error
		if ok {
			err = linker.Link(p)
		} else {
			_, err = w.to.WriteBinary(p)
		}
		if err != nil {
			return err
		}
		taken += len(p)
	}
	return b.Skip(taken)
}

// Flush implements netpoll.Writer; see conn.Conn.Writer.
func (w *writer) Flush() error {
	closed := w.closedError()
	err := w.to.Flush() // it drops everything if it fails
	if len(w.appended) > 0 {
		w.closeAppended()
	}
	if closed != nil {
		return closed
	}
	return WriteError(err)
}

func (w *writer) closeAppended() {
	for i, b := range w.appended {
		_ = b.Close()
		w.appended[i] = nil
	}
	w.appended = w.appended[:0]
}
