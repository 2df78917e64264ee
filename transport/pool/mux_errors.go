package pool

import (
	"context"
	"errors"
	"os"

	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// classify returns a call's error as Kitex classifies it (client/middlewares.go). A call whose
// connection ended before anything was sent counts as one that got no connection: Kitex tries it
// again, on another instance. A call for which a limit leaves no room is retried only by a policy
// that names the error, and circuit breakers ignore it: the instance is well.
//
// The class is that of this attempt alone, so noteSentBefore comes later.
func classify(err error) error {
	var failed *mux.Error
	switch {
	case !errors.As(err, &failed):
		return err
	case isRefusal(err):
		return circuitbreak.WrapErrorWithType(err, circuitbreak.TypeIgnorable)
	case isOver(failed.Err):
		return kerrors.ErrRPCTimeout.WithCause(err)
	case failed.NotSent() && !isFrameError(err):
		return kerrors.ErrGetConnection.WithCause(brokenError(err))
	}
	return brokenError(err)
}

// isRefusal reports whether err comes from a limit, of this side or of the peer. The call was not
// begun, and may be made again later.
func isRefusal(err error) bool {
	return errors.Is(err, mux.ErrOverloaded) || errors.Is(err, mux.ErrRefused)
}

// isOver reports whether the call's own time was over, or its caller has gone. A Call then fails
// with exactly these values, so == tells. A dial that took too long, or a connection that ended for
// lack of a heartbeat or of room to write, has an error that only matches them.
func isOver(err error) bool {
	switch err {
	case os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled, mux.ErrOverdue: //nolint:errorlint // see above
		return true
	}
	return false
}

// brokenError gives the error of an ended connection netpoll's value. That is never the value of a
// timeout: no call was too slow.
func brokenError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &netpollconn.Error{Err: err, Code: netpoll.ErrConnClosed}
	}
	return netpollconn.ReadError(err)
}

// isFrameError reports whether the message itself is to blame, so that another instance would not
// help. A peer that sends something that is no frame is another matter.
func isFrameError(err error) bool {
	var frame *mux.FrameError
	return errors.As(err, &frame) && (!frame.Received || frame.Limit > 0)
}

// isNotSent reports whether err, an attempt's, says that nothing of it was sent.
func isNotSent(err error) bool {
	var failed interface{ NotSent() bool }
	return errors.As(err, &failed) && failed.NotSent()
}

// noteSentBefore notes in err, the error of an attempt at a call, whether other attempts may have
// been sent. Only a *mux.Error can say so; by itself it speaks of its own attempt alone. The
// attempts at a call without a TimedCall are not counted, so there may be others: a backup request,
// or one that a middleware has made.
func noteSentBefore(timed TimedCall, err error) {
	var failed *mux.Error
	if errors.As(err, &failed) {
		failed.SentBefore = timed == nil || timed.MayHaveBeenSent()
	}
}
