package transport

import (
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// The writing half of byteBuffer.

// Malloc implements remote.ByteBuffer. The memory does not move before Flush:
// codecs fill in lengths afterwards.
func (b *byteBuffer) Malloc(n int) ([]byte, error) {
	if b.writer == nil {
		return nil, errNotWritable
	}
	p, err := b.writer.Malloc(n)
	return p, netpollconn.WriteError(err)
}

// MallocAck implements remote.NocopyWrite.
func (b *byteBuffer) MallocAck(n int) error {
	if b.writer == nil {
		return errNotWritable
	}
	return netpollconn.WriteError(b.writer.MallocAck(n))
}

// WriteDirect implements remote.NocopyWrite: it inserts p, by reference until Flush, before the
// last remainCap malloced bytes.
func (b *byteBuffer) WriteDirect(p []byte, remainCap int) error {
	if b.writer == nil {
		return errNotWritable
	}
	return netpollconn.WriteError(b.writer.WriteDirect(p, remainCap))
}

// Link implements buffer.Linker: it appends p, by reference until Flush.
func (b *byteBuffer) Link(p []byte) error {
	if b.writer == nil {
		return errNotWritable
	}
	if l, ok := b.writer.(buffer.Linker); ok {
		return netpollconn.WriteError(l.Link(p))
	}
	return netpollconn.WriteError(b.writer.WriteDirect(p, 0))
}

// MallocLen is WrittenLen under the name that package buffer has for it.
func (b *byteBuffer) MallocLen() int { return b.WrittenLen() }

// Write implements io.Writer. It copies p.
func (b *byteBuffer) Write(p []byte) (int, error) {
	space, err := b.Malloc(len(p))
	if err != nil {
		return 0, err
	}
	return copy(space, p), nil
}

// WriteString implements remote.ByteBuffer.
func (b *byteBuffer) WriteString(s string) (int, error) {
	if b.writer == nil {
		return 0, errNotWritable
	}
	n, err := b.writer.WriteString(s)
	return n, netpollconn.WriteError(err)
}

// WriteBinary implements remote.ByteBuffer. It may keep p by reference until Flush.
func (b *byteBuffer) WriteBinary(p []byte) (int, error) {
	if b.writer == nil {
		return 0, errNotWritable
	}
	n, err := b.writer.WriteBinary(p)
	return n, netpollconn.WriteError(err)
}

// WrittenLen implements remote.ByteBuffer. It returns -1 for a buffer that cannot be written.
func (b *byteBuffer) WrittenLen() int {
	if b.writer == nil {
		return -1
	}
	return b.writer.MallocLen()
}

// Flush implements remote.ByteBuffer. It returns when the kernel has taken everything, or when the
// connection has failed and is closed.
func (b *byteBuffer) Flush() error {
	if b.writer == nil {
		return errNotWritable
	}
	if b.call != nil {
		if err := b.call.limitWrite(b.conn, b.writer.MallocLen()); err != nil {
			return err
		}
		defer b.call.unlimitWrite(b.conn)
	}
	return netpollconn.WriteError(b.writer.Flush())
}

// writtenBytes submits and returns what was written to a buffer in memory.
func (b *byteBuffer) writtenBytes() ([]byte, error) {
	memory, ok := b.writer.(*buffer.LinkBuffer)
	if b.conn != nil || !ok {
		return nil, errNotReadable
	}
	if err := memory.Flush(); err != nil {
		return nil, err
	}
	return memory.Peek(memory.Len())
}

// readFrame takes n bytes as memory that the caller owns, in the cheapest way r has.
func readFrame(r buffer.Reader, n int) ([]byte, error) {
	if f, ok := r.(buffer.FrameReader); ok {
		return f.ReadFrame(n)
	}
	return r.ReadBinary(n)
}
