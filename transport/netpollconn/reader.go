package netpollconn

import (
	"io"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/buffer"
)

// reader is a buffer.Reader with netpoll's errors. The interfaces differ in
// what Slice returns, and in nothing else.
type reader struct {
	from  buffer.Reader
	fails func(error) error // ReadError, or MemoryError for a slice
}

var (
	_ netpoll.Reader = (*reader)(nil)
	_ io.Closer      = (*reader)(nil)
)

func (r *reader) Next(n int) ([]byte, error) {
	p, err := r.from.Next(n)
	if err != nil {
		return nil, r.fails(err)
	}
	return p, nil
}

func (r *reader) Peek(n int) ([]byte, error) {
	p, err := r.from.Peek(n)
	if err != nil {
		return nil, r.fails(err)
	}
	return p, nil
}

func (r *reader) Skip(n int) error { return r.fails(r.from.Skip(n)) }

func (r *reader) Until(delim byte) ([]byte, error) {
	p, err := r.from.Until(delim)
	return p, r.fails(err)
}

func (r *reader) ReadString(n int) (string, error) {
	s, err := r.from.ReadString(n)
	return s, r.fails(err)
}

func (r *reader) ReadBinary(n int) ([]byte, error) {
	p, err := r.from.ReadBinary(n)
	return p, r.fails(err)
}

func (r *reader) ReadByte() (byte, error) {
	b, err := r.from.ReadByte()
	return b, r.fails(err)
}

// Slice returns a reader over the next n bytes, usable on another goroutine
// after this one has moved on. Close it.
func (r *reader) Slice(n int) (netpoll.Reader, error) {
	s, err := r.from.Slice(n)
	if err != nil {
		return nil, r.fails(err)
	}
	return &reader{from: s, fails: MemoryError}, nil
}

func (r *reader) Release() error { return r.from.Release() }

func (r *reader) Len() int { return r.from.Len() }

// Close gives back the memory of a reader that came from Slice; Kitex asserts
// io.Closer on those. The connection's own reader ends with the connection.
func (r *reader) Close() error {
	if c, ok := r.from.(io.Closer); ok {
		return c.Close()
	}
	return r.from.Release()
}
