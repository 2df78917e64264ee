package apache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/apache/thrift/lib/go/thrift"
)

// transportError is a failed operation of a connection, as a thrift.TTransportException. Unlike the
// library's own it can be of type NOT_OPEN and keep its cause.
type transportError struct {
	kind int // one of the library's numbers
	err  error
}

var _ thrift.TTransportException = (*transportError)(nil)

// transportFailure wraps the error of a connection or a buffer; it returns nil for nil.
func transportFailure(err error) error {
	if err == nil {
		return nil
	}
	var known thrift.TTransportException
	if errors.As(err, &known) {
		return err
	}
	kind := thrift.UNKNOWN_TRANSPORT_EXCEPTION
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		kind = thrift.TIMED_OUT
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		kind = thrift.END_OF_FILE
	case errors.Is(err, net.ErrClosed):
		kind = thrift.NOT_OPEN
	}
	return &transportError{kind: kind, err: err}
}

// callEnded is the error of a call whose context ended first.
func callEnded(ctx context.Context) error {
	kind := thrift.UNKNOWN_TRANSPORT_EXCEPTION
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = thrift.TIMED_OUT
	}
	return &transportError{kind: kind, err: context.Cause(ctx)}
}

func (e *transportError) Error() string { return "apache: " + e.err.Error() }

// Unwrap returns the cause.
func (e *transportError) Unwrap() error { return e.err }

// Err implements thrift.TTransportException.
func (e *transportError) Err() error { return e.err }

// TypeId implements thrift.TTransportException.
func (e *transportError) TypeId() int { return e.kind } //nolint:revive // the interface's name for it

// TExceptionType implements thrift.TException.
func (e *transportError) TExceptionType() thrift.TExceptionType {
	return thrift.TExceptionTypeTransport
}

// Timeout reports whether a deadline or a timeout ended the operation.
func (e *transportError) Timeout() bool { return e.kind == thrift.TIMED_OUT }

// The functions below make the thrift.TProtocolException of a malformed message.

// errTruncated is the cause of the error of a value that ends after its message.
var errTruncated = fmt.Errorf("apache: the message ends inside a value: %w", io.ErrUnexpectedEOF)

func truncated() error {
	return thrift.NewTProtocolExceptionWithType(thrift.INVALID_DATA, errTruncated)
}

func invalidData(format string, args ...any) error {
	return malformed(thrift.INVALID_DATA, format, args...)
}

func sizeLimit(format string, args ...any) error {
	return malformed(thrift.SIZE_LIMIT, format, args...)
}

func badVersion(format string, args ...any) error {
	return malformed(thrift.BAD_VERSION, format, args...)
}

func negativeSize(n int) error { return malformed(thrift.NEGATIVE_SIZE, "negative length %d", n) }

func tooDeep() error {
	return malformed(thrift.DEPTH_LIMIT, "more than %d structs and containers inside one another", maxDepth)
}

func malformed(kind int, format string, args ...any) error {
	return thrift.NewTProtocolExceptionWithType(kind, fmt.Errorf("apache: "+format, args...))
}
