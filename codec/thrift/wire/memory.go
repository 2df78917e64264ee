package wire

import (
	"fmt"
	"io"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/transport/buffer"
)

// memory is a remote.ByteBuffer for a message in memory: a payload codec reads a request from it,
// or writes a reply to it. It has one owner, and is reused after recycle.
type memory struct {
	in   []byte            // the message to be read
	read int               // bytes of in that were taken
	out  buffer.LinkBuffer // what was written
}

var (
	_ remote.ByteBuffer  = (*memory)(nil)
	_ remote.NocopyWrite = (*memory)(nil)
	_ buffer.FrameReader = (*memory)(nil)
	_ buffer.Linker      = (*memory)(nil)
)

var memories = sync.Pool{New: func() any { return new(memory) }}

// newMemory returns a buffer from which message can be read, or for writing.
func newMemory(message []byte) *memory {
	m := memories.Get().(*memory)
	m.in = message
	return m
}

// recycle gives m up. Slices from it become invalid, except those of ReadFrame.
func (m *memory) recycle() {
	_ = m.out.MallocAck(0) // it fails for a number out of range
	_ = m.out.Skip(m.out.Len())
	_ = m.out.Release() // always nil
	m.in, m.read = nil, 0
	memories.Put(m)
}

// Peek implements remote.ByteBuffer.
func (m *memory) Peek(n int) ([]byte, error) {
	rest := m.in[m.read:]
	switch {
	case n < 0:
		return nil, fmt.Errorf("kiteline: read of %d bytes", n)
	case n <= len(rest):
		return rest[:n:n], nil
	case len(rest) == 0:
		return nil, io.EOF
	}
	return nil, io.ErrUnexpectedEOF
}

// Next implements remote.ByteBuffer.
func (m *memory) Next(n int) ([]byte, error) {
	p, err := m.Peek(n)
	m.read += len(p)
	return p, err
}

// Skip implements remote.ByteBuffer.
func (m *memory) Skip(n int) error {
	_, err := m.Next(n)
	return err
}

// Read implements io.Reader.
func (m *memory) Read(p []byte) (int, error) {
	if len(p) > 0 && m.ReadableLen() == 0 {
		return 0, io.EOF
	}
	return m.ReadBinary(p[:min(len(p), m.ReadableLen())])
}

// ReadBinary implements remote.ByteBuffer: it fills p.
func (m *memory) ReadBinary(p []byte) (int, error) {
	next, err := m.Next(len(p))
	return copy(p, next), err
}

// ReadString implements remote.ByteBuffer.
func (m *memory) ReadString(n int) (string, error) {
	p, err := m.Next(n)
	return string(p), err
}

// ReadFrame implements buffer.FrameReader: it returns the next n bytes in memory of their own.
func (m *memory) ReadFrame(n int) ([]byte, error) {
	p, err := m.Next(n)
	if err != nil {
		return nil, err
	}
	own := make([]byte, n)
	copy(own, p)
	return own, nil
}

// ReadableLen implements remote.ByteBuffer.
func (m *memory) ReadableLen() int { return len(m.in) - m.read }

// ReadLen implements remote.ByteBuffer.
func (m *memory) ReadLen() int { return m.read }

// Malloc implements remote.ByteBuffer.
func (m *memory) Malloc(n int) ([]byte, error) { return m.out.Malloc(n) }

// MallocAck implements remote.NocopyWrite.
func (m *memory) MallocAck(n int) error { return m.out.MallocAck(n) }

// WriteDirect implements remote.NocopyWrite.
func (m *memory) WriteDirect(p []byte, remainCap int) error { return m.out.WriteDirect(p, remainCap) }

// Link implements buffer.Linker.
func (m *memory) Link(p []byte) error { return m.out.Link(p) }

// Write implements io.Writer. It copies p.
func (m *memory) Write(p []byte) (int, error) {
	space, err := m.out.Malloc(len(p))
	return copy(space, p), err
}

// WriteString implements remote.ByteBuffer.
func (m *memory) WriteString(s string) (int, error) { return m.out.WriteString(s) }

// WriteBinary implements remote.ByteBuffer: p may be kept by reference until recycle.
func (m *memory) WriteBinary(p []byte) (int, error) { return m.out.WriteBinary(p) }

// WrittenLen implements remote.ByteBuffer.
func (m *memory) WrittenLen() int { return m.out.MallocLen() }

// Flush implements remote.ByteBuffer. Only Bytes reads what was written, so there is nothing to do.
func (m *memory) Flush() error { return nil }

// Bytes implements remote.ByteBuffer: it ends the writing and returns what was written in one
// piece. The slice is valid until recycle.
func (m *memory) Bytes() ([]byte, error) {
	if err := m.out.Flush(); err != nil {
		return nil, err
	}
	return m.out.Peek(m.out.Len())
}

// NewBuffer implements remote.ByteBuffer: it returns a buffer for AppendBuffer.
func (m *memory) NewBuffer() remote.ByteBuffer { return newMemory(nil) }

// AppendBuffer implements remote.ByteBuffer: it moves what was written to another's NewBuffer after
// what was written here, and recycles the other.
func (m *memory) AppendBuffer(other remote.ByteBuffer) error {
	o, ok := other.(*memory)
	if !ok {
		return fmt.Errorf("kiteline: append of a %T", other)
	}
	defer o.recycle()
	return m.out.Append(&o.out)
}

// Release implements remote.ByteBuffer. The maker of m recycles it.
func (m *memory) Release(error) error { return nil }
