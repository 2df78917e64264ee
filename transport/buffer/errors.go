package buffer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
)

// ErrClosed is returned by every reading and writing method after Close.
// errors.Is(ErrClosed, net.ErrClosed) is true: this side closed it.
var ErrClosed error = closedError{}

// ErrUnflushed is returned by a reading method that needs the Source while the same buffer holds
// unflushed bytes: both need the tail of the buffer. Use one LinkBuffer for each direction.
var ErrUnflushed = errors.New("buffer: cannot read from the source before the written bytes are flushed")

type closedError struct{}

func (closedError) Error() string { return "buffer: closed" }
func (closedError) Unwrap() error { return net.ErrClosed }

// ShortError says that a buffer without a Source holds fewer bytes than were asked for. It unwraps
// to io.EOF if the buffer is empty (a clean end) and to io.ErrUnexpectedEOF otherwise (the end came
// too early).
type ShortError struct {
	Need int // bytes asked for
	Have int // bytes available
}

func (e *ShortError) Error() string {
	return fmt.Sprintf("buffer: need %d bytes, have %d", e.Need, e.Have)
}

// Unwrap returns io.EOF or io.ErrUnexpectedEOF.
func (e *ShortError) Unwrap() error {
	if e.Have == 0 {
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

// SizeError says that a length or position given to a method is negative or too large.
// Nothing was read or written. It unwraps to fs.ErrInvalid.
type SizeError struct {
	Op  string // name of the method
	N   int    // the value given
	Max int    // the largest value accepted; the smallest is 0
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("buffer: %s: %d is not in 0..%d", e.Op, e.N, e.Max)
}

// Unwrap returns fs.ErrInvalid.
func (e *SizeError) Unwrap() error { return fs.ErrInvalid }

// AppendError says that Append was given a writer it cannot take. Nothing was moved.
// It unwraps to errors.ErrUnsupported.
type AppendError struct {
	Writer Writer // the argument of Append
	Reason string // why it cannot be taken
}

func (e *AppendError) Error() string {
	return fmt.Sprintf("buffer: Append of %T: %s", e.Writer, e.Reason)
}

// Unwrap returns errors.ErrUnsupported.
func (e *AppendError) Unwrap() error { return errors.ErrUnsupported }
