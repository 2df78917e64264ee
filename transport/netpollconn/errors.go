package netpollconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/cloudwego/netpoll"
)

// Error is an error of conn's or mux's together with netpoll's value for it.
//
// Under errors.Is and errors.As it matches what Err matches, and netpoll's value, but never io.EOF
// or io.ErrUnexpectedEOF: to a user of streams those say that the peer has sent everything, and
// Kitex keeps a connection's error as the cause of those that it gives to its users.
type Error struct {
	Err  error         // why the operation failed; never nil
	Code syscall.Errno // netpoll.ErrEOF, ErrConnClosed, ErrReadTimeout or ErrWriteTimeout; zero if there is none
}

var _ net.Error = (*Error)(nil)

// Error implements error, with netpoll's text first, as its users know it from their logs.
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

// Is reports whether e matches target, as errors.Is asks. As in netpoll, the end of the stream is
// also a closed connection.
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

// As finds the first error in Err that matches target, as errors.As asks. A *syscall.Errno gets
// netpoll's value, unless a write failed with one of the kernel's: netpoll's gives those too.
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

// ReadError returns a read's error of conn's with its netpoll value: an *Error,
// nil for nil, and err itself if netpoll has no value for it.
func ReadError(err error) error { return withCode(err, netpoll.ErrEOF, netpoll.ErrReadTimeout) }

// WriteError is ReadError for an error of a write.
func WriteError(err error) error {
	return withCode(err, netpoll.ErrConnClosed, netpoll.ErrWriteTimeout)
}

// MemoryError returns the error of a read from memory, where the bytes end with a message and not
// with a connection: an *Error without a Code in place of one that matches io.EOF or
// io.ErrUnexpectedEOF, and any other as it is.
func MemoryError(err error) error {
	if err != nil && isEnd(err) {
		return &Error{Err: err}
	}
	return err
}

// isEnd reports whether err is the end of a stream.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// withCode wraps err if netpoll has a value for it; peerGone and timeout are
// those for the two causes whose value depends on the direction.
func withCode(err error, peerGone, timeout syscall.Errno) error {
	if err == nil {
		return nil // before own, which errors.As has allocated where it is declared
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
	// Whatever the kernel says of a socket that was used ends the connection, as it
	// does in netpoll (connection_reactor.go).
	var kernel syscall.Errno
	if errors.As(err, &kernel) {
		return &Error{Err: err, Code: peerGone}
	}
	return err
}
