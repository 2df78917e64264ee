package poller

import (
	"errors"
	"net"
	"strconv"
)

// ErrUnknownToken says that a token was never handed out by this poller, or was freed by Remove
// or Forget.
var ErrUnknownToken = errors.New("token not in use")

// errInterest says that an Interest is empty or has unknown bits.
var errInterest = errors.New("invalid interest")

// OpError is the type of every error that this package returns, alone or joined with others
// (errors.Join), so find it with errors.As.
type OpError struct {
	// Op is the operation that failed: "open", "add", "arm", "disarm", "remove", "wait", "close",
	// "pick" or "resize".
	Op string

	// Err is the cause: an *os.SyscallError from the kernel, net.ErrClosed after Close,
	// ErrUnknownToken, errors.ErrUnsupported, or a plain description of a bad argument.
	Err error
}

var _ error = (*OpError)(nil)

// Error returns the operation and its cause.
func (e *OpError) Error() string { return "poller: " + e.Op + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// opError wraps err, and returns nil for nil.
func opError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{Op: op, Err: err}
}

// waitFailure is the cause of every refusal after a failed wait. It matches net.ErrClosed, since
// the poller is closed, and the kernel's error.
type waitFailure struct{ cause error }

func (f *waitFailure) Error() string   { return "closed after a failed wait: " + f.cause.Error() }
func (f *waitFailure) Unwrap() []error { return []error{net.ErrClosed, f.cause} }

// badSizeError says that a group cannot have this number of pollers.
type badSizeError int

func (n badSizeError) Error() string {
	return "bad number of pollers: " + strconv.Itoa(int(n))
}
