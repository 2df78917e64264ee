package cause

import (
	"net"
	"os"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/transport/conn"
)

// Causes that both sides give.
var (
	// ErrClosed says that this side has closed the connection, or its Set or Server. It matches
	// net.ErrClosed under errors.Is.
	ErrClosed = New("mux: closed", net.ErrClosed)

	// ErrSilent says that the peer did not answer a ping in time. It matches os.ErrDeadlineExceeded
	// under errors.Is.
	ErrSilent = New("mux: peer gives no sign of life", os.ErrDeadlineExceeded)

	// ErrStalled says that the peer has begun a frame and taken longer than the read timeout for
	// 256 KiB of it, or for its rest. It matches os.ErrDeadlineExceeded under errors.Is.
	ErrStalled = New("mux: frame has not come in time", os.ErrDeadlineExceeded)
)

// New returns an error with that text which matches as, a standard library error, under errors.Is.
func New(text string, as error) error { return &stateError{text, as} }

// stateError is an error that matches another one.
type stateError struct {
	text string
	as   error
}

func (e *stateError) Error() string { return e.text }
func (e *stateError) Unwrap() error { return e.as }

// OfPanic returns failure, a user callback's, as conn's error.
func OfPanic(failure *callback.Failure) *conn.PanicError {
	return &conn.PanicError{Value: failure.Value, Stack: failure.Stack}
}
