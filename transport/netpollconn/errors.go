package netpollconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/cloudwego/netpoll"
)

// Error is an error of conn's together with netpoll's value for it.
type Error struct {
	Err  error         // what conn returned; never nil
	Code syscall.Errno // netpoll.ErrEOF, ErrConnClosed, ErrReadTimeout or ErrWriteTimeout
}

var _ net.Error = (*Error)(nil)

// Error implements error, with netpoll's text first, as its users know it from their logs.
func (e *Error) Error() string {
	return netpoll.Exception(e.Code, e.Err.Error()).Error()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is netpoll's value. As in netpoll, the end of the
// stream is also a closed connection.
func (e *Error) Is(target error) bool {
	return target == e.Code || e.Code == netpoll.ErrEOF && target == netpoll.ErrConnClosed
}

// Timeout implements net.Error.
func (e *Error) Timeout() bool {
	return e.Code == netpoll.ErrReadTimeout || e.Code == netpoll.ErrWriteTimeout
}

// Temporary implements net.Error. It is always false.
func (e *Error) Temporary() bool { return false }

// ReadError returns a read's error of conn's with its netpoll value: an *Error,
// nil for nil, and err itself if netpoll has no value for it.
func ReadError(err error) error { return withCode(err, netpoll.ErrEOF, netpoll.ErrReadTimeout) }

// WriteError is ReadError for an error of a write.
func WriteError(err error) error {
	return withCode(err, netpoll.ErrConnClosed, netpoll.ErrWriteTimeout)
}

// withCode wraps err if netpoll has a value for it; peerGone and timeout are
// those for the two causes whose value depends on the direction.
func withCode(err error, peerGone, timeout syscall.Errno) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Err: err, Code: peerGone}
	case errors.Is(err, net.ErrClosed):
		return &Error{Err: err, Code: netpoll.ErrConnClosed}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Err: err, Code: timeout}
	}
	// Whatever the kernel says of a socket that was used ends the connection, as it
	// does in netpoll (connection_reactor.go).
	var kernel syscall.Errno
	if errors.As(err, &kernel) {
		return &Error{Err: err, Code: peerGone}
	}
	return err
}
