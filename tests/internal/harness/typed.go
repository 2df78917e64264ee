package harness

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/mux"
)

// IsTyped reports whether err tells its caller what happened, in the standard library's terms or
// netpoll's.
func IsTyped(err error) bool {
	return isAny(err,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, os.ErrNotExist,
		context.Canceled, context.DeadlineExceeded, netpoll.ErrConnClosed,
		syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED, syscall.EAGAIN, syscall.ENOTCONN, syscall.ECONNABORTED,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ETIMEDOUT, syscall.EADDRNOTAVAIL)
}

// IsTypedCall reports whether err is one of Kitex's kinds, and tells what happened if the kind does
// not, or is the error of a call without room.
func IsTypedCall(err error) bool {
	return isAny(err, kerrors.ErrRPCTimeout, kerrors.ErrCanceledByBusiness, kerrors.ErrGetConnection, kerrors.ErrNoMoreInstance,
		mux.ErrRefused, mux.ErrOverloaded) ||
		errors.Is(err, kerrors.ErrRemoteOrNetwork) && IsTyped(err)
}

func isAny(err error, known ...error) bool {
	for _, k := range known {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}
