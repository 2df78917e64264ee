package netpollconn

import (
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/buffer"
)

// writer is a buffer.Writer with netpoll's errors, which also takes what was
// written into a LinkBuffer of netpoll's.
type writer struct {
	to buffer.Writer

	// Buffers of netpoll's whose bytes were appended by reference and not
	// flushed yet. Owned by the writing side.
	appended []*netpoll.LinkBuffer
}

var _ netpoll.Writer = (*writer)(nil)

func (w *writer) Malloc(n int) ([]byte, error) {
	p, err := w.to.Malloc(n)
	return p, WriteError(err)
}

func (w *writer) MallocAck(n int) error { return WriteError(w.to.MallocAck(n)) }

func (w *writer) MallocLen() int { return w.to.MallocLen() }

func (w *writer) WriteString(s string) (int, error) {
	n, err := w.to.WriteString(s)
	return n, WriteError(err)
}

func (w *writer) WriteBinary(p []byte) (int, error) {
	n, err := w.to.WriteBinary(p)
	return n, WriteError(err)
}

func (w *writer) WriteByte(b byte) error { return WriteError(w.to.WriteByte(b)) }

func (w *writer) WriteDirect(p []byte, remainCap int) error {
	return WriteError(w.to.WriteDirect(p, remainCap))
}

// Append takes the bytes of another connection's Writer of this package, or of a
// *netpoll.LinkBuffer, which must not be used any more; of any other Writer it is
// netpoll.ErrUnsupported.
func (w *writer) Append(other netpoll.Writer) error {
	switch o := other.(type) {
	case *writer:
		w.appended = append(w.appended, o.appended...)
		o.appended = nil
		return WriteError(w.to.Append(o.to))
	case *netpoll.LinkBuffer:
		return w.appendLinkBuffer(o)
	}
	return netpoll.Exception(netpoll.ErrUnsupported, "append of an unknown writer")
}

// appendLinkBuffer links the buffer's bytes by reference, and closes it after
// the flush.
func (w *writer) appendLinkBuffer(b *netpoll.LinkBuffer) error {
	if err := b.Flush(); err != nil {
		return err
	}
	w.appended = append(w.appended, b)
	// GetBytes(nil) leaves out the last node in netpoll v0.7.3, and a slice
	// given to it limits how many it returns, so it has to be asked in turns.
	for b.Len() > 0 {
		if err := w.linkSome(b); err != nil {
			return WriteError(err)
		}
	}
	return nil
}

// linkSome links up to a few of b's slices and takes them out of it.
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
	err := w.to.Flush()
	if len(w.appended) > 0 {
		w.closeAppended()
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
