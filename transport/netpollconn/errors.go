package netpollconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/cloudwego/netpoll"
)

// ErrForeign is the error of a call on a connection that is not a netpoll.Connection, from a dialer
// other than Kiteline's. Kitex's handlers need one.
var ErrForeign = errors.New("kiteline: connection is not a netpoll.Connection")

// Error is an error of package conn or mux together with netpoll's value for it.
//
// Under errors.Is and errors.As it matches what Err matches, and netpoll's value, but never io.EOF
// or io.ErrUnexpectedEOF. To a user of streams those say that the peer has sent everything, and
// Kitex keeps a connection's error as the cause of the errors that it gives to its users.
type Error struct {
	Err  error         // why the operation failed; never nil
	Code syscall.Errno // netpoll.ErrEOF, ErrConnClosed, ErrReadTimeout, ErrWriteTimeout or zero
}

var _ net.Error = (*Error)(nil)

// Error implements error. Netpoll's text, which its users know from their logs, comes first.
func (e *Error) Error() string {
	if e.Code == 0 {
		return e.Err.Error()
	}
	return netpoll.Exception(e.Code, e.Err.Error()).Error()
}

// Unwrap returns netpoll's value, as netpoll's errors do; nil if there is none.
func (e *Error) Unwrap() error {
	if e.Code == 0 {
		return nil
	}
	return e.Code
}

// Is reports whether e matches target, for errors.Is. As in netpoll, the end of the stream is also
// a closed connection.
func (e *Error) Is(target error) bool {
	switch target {
	case io.EOF, io.ErrUnexpectedEOF:
		return false
	case netpoll.ErrConnClosed:
		if e.Code == netpoll.ErrEOF {
			return true
		}
	}
	return errors.Is(e.Err, target)
}

// As finds the first error in Err that matches target, for errors.As. A *syscall.Errno target gets
// netpoll's value, unless a write failed with an error number of the kernel: then it gets that, as
// in netpoll.
func (e *Error) As(target any) bool {
	errno, ok := target.(*syscall.Errno)
	if !ok {
		return errors.As(e.Err, target)
	}
	if e.Code == netpoll.ErrConnClosed || e.Code == 0 {
		return errors.As(e.Err, errno)
	}
	return false // Unwrap gives Code
}

// Timeout implements net.Error.
func (e *Error) Timeout() bool {
	return e.Code == netpoll.ErrReadTimeout || e.Code == netpoll.ErrWriteTimeout
}

// Temporary implements net.Error. It is always false.
func (e *Error) Temporary() bool { return false }

// ReadError returns an error of a read, from package conn, with netpoll's value: an *Error, or err
// itself if netpoll has no value for it. It returns nil for nil.
func ReadError(err error) error { return withCode(err, netpoll.ErrEOF, netpoll.ErrReadTimeout) }

// WriteError is ReadError for an error of a write.
func WriteError(err error) error {
	return withCode(err, netpoll.ErrConnClosed, netpoll.ErrWriteTimeout)
}

// memoryError returns the error of a read from memory, where the bytes end with a message and not
// with a connection: an end of the stream becomes an *Error without a Code.
func memoryError(err error) error {
	if isEnd(err) {
		return &Error{Err: err}
	}
	return err
}

// isEnd reports whether err is the end of a stream.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// withCode wraps err if netpoll has a value for it. peerGone and timeout are the values for the two
// causes that depend on the direction.
func withCode(err error, peerGone, timeout syscall.Errno) error {
	if err == nil {
		return nil // before own: errors.As makes its declaration allocate
	}
	var own *Error
	switch {
	case errors.As(err, &own):
		return err
	case isEnd(err):
		return &Error{Err: err, Code: peerGone}
	case errors.Is(err, net.ErrClosed):
		return &Error{Err: err, Code: netpoll.ErrConnClosed}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Err: err, Code: timeout}
	}
	// Any error of the kernel for a socket in use ends the connection, as in netpoll
	// (connection_reactor.go).
	var kernel syscall.Errno
	if errors.As(err, &kernel) {
		return &Error{Err: err, Code: peerGone}
	}
	return err
}
