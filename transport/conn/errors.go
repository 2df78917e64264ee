package conn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/kiteline/kiteline/internal/callback"
)

var (
	// ErrGoexit is the Value of a PanicError if the callback has not panicked but ended its
	// goroutine with runtime.Goexit, as testing.T.FailNow does.
	ErrGoexit = callback.ErrGoexit

	// ErrIdleTimeout is the cause of a connection that was closed because it was unused for its
	// idle timeout. It matches os.ErrDeadlineExceeded under errors.Is.
	ErrIdleTimeout error = idleTimeoutError{}

	// ErrAcceptStuck is the error that ServerConfig.OnAcceptError gets for a listener whose Accept
	// has not returned by the end of Shutdown or Close. The goroutine inside it is left behind; a
	// connection that it still accepts is closed at once.
	ErrAcceptStuck = errors.New("conn: Accept or Close of the listener does not return; its goroutine is left behind")

	// errWouldBlock is what a socket's try methods return when the kernel has
	// nothing to give or no room to take. It never leaves the package.
	errWouldBlock = errors.New("conn: would block")

	// errNilHandler is returned for a request handler that is nil.
	errNilHandler = errors.New("conn: nil request handler")

	// errNoConn is the error of serving a listener whose Accept returns nothing instead of waiting,
	// as netpoll's do.
	errNoConn = errors.New("conn: the listener's Accept returned neither a connection nor an error, instead of waiting")

	// errNoWatcher is returned where a connection has no poller.
	errNoWatcher = errors.New("conn: no poller")
)

// OpError is the type of a connection's errors, with these exceptions. The end of the stream is a
// bare io.EOF, or io.ErrUnexpectedEOF inside the bytes that were asked for. A length that the
// Reader or Writer cannot take is a *buffer.SizeError. Failures to connect or to listen are a
// *net.OpError, except those of FromDescriptor.
//
// Err is one of
//   - net.ErrClosed: this side closed the connection;
//   - os.ErrDeadlineExceeded: a deadline or a timeout passed;
//   - *os.SyscallError: what the kernel said (ECONNRESET, EPIPE, ...);
//   - errors.ErrUnsupported: the platform or the net.Conn cannot do this;
//   - what a listener, a poller, or a net.Conn that is not a plain socket returned.
type OpError struct {
	Op   string   // "read", "write", "accept", "set deadline", ...
	Addr net.Addr // the peer, or the listener's address for "accept"; nil if there is none
	Err  error    // never nil
}

var _ net.Error = (*OpError)(nil)

// Error implements error.
func (e *OpError) Error() string {
	if e.Addr == nil {
		return fmt.Sprintf("conn: %s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("conn: %s %s: %v", e.Op, e.Addr, e.Err)
}

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether the operation ended because of a deadline or timeout.
func (e *OpError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.Err, &t) && t.Timeout()
}

// Temporary is part of net.Error. It is always false: nothing in this package
// asks its caller to guess whether to try again.
func (e *OpError) Temporary() bool { return false }

// PanicError is the cause of a connection that was closed because one of its
// callbacks panicked or ended its goroutine.
type PanicError struct {
	Value any    // what was passed to panic, or ErrGoexit
	Stack []byte // the goroutine's stack at that moment, as debug.Stack prints it
}

// Error implements error.
func (e *PanicError) Error() string {
	if e.Value == ErrGoexit {
		return "conn: " + ErrGoexit.Error()
	}
	return fmt.Sprintf("conn: callback panicked: %v", e.Value)
}

// Unwrap returns the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

type idleTimeoutError struct{}

func (idleTimeoutError) Error() string        { return "conn: idle timeout" }
func (idleTimeoutError) Timeout() bool        { return true }
func (idleTimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// opError wraps err. It returns nil, the end of the stream and an *OpError as they are.
func opError(op string, addr net.Addr, err error) error {
	switch err {
	case nil, io.EOF, io.ErrUnexpectedEOF:
		return err
	}
	var own *OpError
	if errors.As(err, &own) {
		return err
	}
	return &OpError{Op: op, Addr: addr, Err: bareError(err)}
}

// bareError removes what package net wraps around the error that says what happened.
func bareError(err error) error {
	switch {
	case errors.Is(err, net.ErrClosed):
		return net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	}
	var kernel *os.SyscallError
	if errors.As(err, &kernel) {
		return kernel
	}
	return err
}

// isPeerGone reports whether err says that the connection has ended, and not by this side: the end
// of the stream, or any error of the kernel, after which a socket is of no use.
func isPeerGone(err error) bool {
	var kernel syscall.Errno
	return err == io.EOF || errors.As(err, &kernel) || errors.Is(err, io.ErrClosedPipe)
}
