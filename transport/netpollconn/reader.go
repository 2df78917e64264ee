package netpollconn

import (
	"io"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/buffer"
)

// reader is a buffer.Reader with netpoll's errors. As in netpoll, its methods succeed and do
// nothing for a negative number of bytes.
type reader struct {
	from    buffer.Reader
	fails   func(error) error // ReadError, or MemoryError for a slice
	arrived func() int        // what can be read without waiting, socket included; nil for a slice
}

var (
	_ netpoll.Reader = (*reader)(nil)
	_ io.Closer      = (*reader)(nil)
)

// Next implements netpoll.Reader.
func (r *reader) Next(n int) ([]byte, error) {
	p, err := r.from.Next(max(n, 0))
	if err != nil {
		return nil, r.fails(err)
	}
	return p, nil
}

// Peek implements netpoll.Reader.
func (r *reader) Peek(n int) ([]byte, error) {
	p, err := r.from.Peek(max(n, 0))
	if err != nil {
		return nil, r.fails(err)
	}
	return p, nil
}

// Skip implements netpoll.Reader.
func (r *reader) Skip(n int) error { return r.fails(r.from.Skip(max(n, 0))) }

// Until implements netpoll.Reader.
func (r *reader) Until(delim byte) ([]byte, error) {
	p, err := r.from.Until(delim)
	return p, r.fails(err)
}

// ReadString implements netpoll.Reader.
func (r *reader) ReadString(n int) (string, error) {
	s, err := r.from.ReadString(max(n, 0))
	return s, r.fails(err)
}

// ReadBinary implements netpoll.Reader.
func (r *reader) ReadBinary(n int) ([]byte, error) {
	p, err := r.from.ReadBinary(max(n, 0))
	return p, r.fails(err)
}

// ReadByte implements netpoll.Reader.
func (r *reader) ReadByte() (byte, error) {
	b, err := r.from.ReadByte()
	return b, r.fails(err)
}

// Slice returns a reader over the next n bytes. Another goroutine may use it while this reader goes
// on. The caller must close it.
func (r *reader) Slice(n int) (netpoll.Reader, error) {
	s, err := r.from.Slice(max(n, 0))
	if err != nil {
		return nil, r.fails(err)
	}
	return &reader{from: s, fails: memoryError}, nil
}

// Release implements netpoll.Reader.
func (r *reader) Release() error { return r.from.Release() }

// Len returns how many bytes have arrived and were not read. For a connection it asks the socket.
func (r *reader) Len() int {
	if r.arrived != nil {
		return r.arrived()
	}
	return r.from.Len()
}

// Close gives back the memory of a reader from Slice, on which Kitex asserts io.Closer. On the
// connection's own reader, which ends with the connection, it only releases what was read.
func (r *reader) Close() error {
	if c, ok := r.from.(io.Closer); ok && r.arrived == nil {
		return c.Close()
	}
	return r.from.Release()
}
