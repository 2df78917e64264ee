package mux

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/mux/internal/frame"
)

var (
	// ErrClosed is what calls fail with whose Set, or whose side of the connection,
	// was closed. errors.Is(ErrClosed, net.ErrClosed) is true.
	ErrClosed = cause.ErrClosed

	// ErrOverloaded is what a call fails with for which a limit leaves no room, if
	// the policy is not to wait. Nothing of it was sent.
	ErrOverloaded = errors.New("mux: overloaded")

	// ErrRefused is what a call fails with that the peer has not begun, and will not begin, since
	// its limits leave no room for it or since it is going away. It is safe to make the call again.
	ErrRefused = errors.New("mux: refused by the peer")

	// ErrOverdue is what a call fails with that the peer has not begun, since the time that the
	// request's header gives it was over: the call's own deadline is due. It matches
	// os.ErrDeadlineExceeded under errors.Is.
	ErrOverdue = cause.New("mux: not begun by the peer in its time", os.ErrDeadlineExceeded)

	// ErrSilent is what calls fail with whose peer answered no heartbeat, or no ping after a call
	// had timed out. It matches os.ErrDeadlineExceeded under errors.Is.
	ErrSilent = cause.ErrSilent

	// ErrStalled is what calls fail with whose connection's peer has begun a frame and not gone on
	// with it in time. It matches os.ErrDeadlineExceeded under errors.Is.
	ErrStalled = cause.ErrStalled

	// errIdle is why a connection was closed that had no call for too long.
	errIdle = cause.New("mux: connection idle", net.ErrClosed)

	// errPeerDrains is why a peer counts as one that cannot be dialled which drains its
	// connections before they have carried a call.
	errPeerDrains = errors.New("mux: peer drains its connections")

	// errDrained is why a connection was closed that had been drained.
	errDrained = cause.New("mux: connection drained", net.ErrClosed)

	// ErrElsewhere is what BeginUnless and BeginSoon fail with when their caller has got a
	// connection elsewhere, or, for BeginSoon, is to look for one there.
	ErrElsewhere = errors.New("mux: made elsewhere")

	// errUnshared is why a connection has left the set that is not shared: its peer does not share
	// it, or its first request did not ask for it.
	errUnshared = cause.New("mux: connection not shared", net.ErrClosed)

	// errAbandoned is why a connection was closed that is not known to be shared and whose
	// call went away before its reply came.
	errAbandoned = cause.New("mux: reply still under way", net.ErrClosed)
)

// Error is the error of every call that failed. Err says why:
//   - context.Canceled, context.DeadlineExceeded or os.ErrDeadlineExceeded: the
//     caller went away, or its time was over;
//   - io.EOF or io.ErrUnexpectedEOF: the peer closed the connection;
//   - ErrClosed, ErrElsewhere, ErrOverloaded, ErrRefused, ErrOverdue, ErrSilent, ErrStalled,
//     *FrameError;
//   - any other error of the connection or of dialling.
type Error struct {
	Op   string   // "begin", "send", "receive" or "warm up"
	Addr net.Addr // the peer; nil if the call had no connection yet
	Err  error    // never nil

	// SentBefore says that the same call may have been made before, or be made again beside this
	// attempt, and may have been sent then. A Set knows nothing of that: the one who makes the
	// attempts says so. The suite of package transport says so too of calls that have no timeout
	// and whose context cannot end, and of all calls with transport.WithKitexTimeouts: of these it
	// does not know how often they are made.
	SentBefore bool

	sent bool
}

var _ net.Error = (*Error)(nil)

// Error implements error. The text says what the call was doing, with whom, what went wrong, and
// whether the call may be made again.
func (e *Error) Error() string {
	text := "mux: " + e.doing() + ": " + strings.TrimPrefix(e.Err.Error(), "mux: ")
	var frame *FrameError
	switch {
	case e.Op == "warm up":
	case e.sent:
		text += " (sent, may have run)"
	case e.SentBefore:
		text += " (not sent, but another attempt may have been)"
	case errors.As(e.Err, &frame) && !frame.Received && e.Op == "receive":
		text += " (not begun)" // and it would not be the next time
	case errors.As(e.Err, &frame) && !frame.Received:
		text += " (not sent)" // nor would it be the next time
	case errors.Is(e.Err, ErrRefused), errors.Is(e.Err, ErrOverdue):
		text += " (not begun, safe to retry)"
	default:
		text += " (not sent, safe to retry)"
	}
	return text
}

// doing says in words what the Op is.
func (e *Error) doing() string {
	call := "call"
	if e.Addr != nil {
		call += " to " + e.Addr.String()
	}
	switch e.Op {
	case "begin":
		return call + " waiting for a place"
	case "send":
		return call + " being sent"
	case "receive":
		return call + " waiting for the reply"
	}
	return e.Op
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// NotSent reports whether no byte of the call was handed to the kernel, nor will be, so that the
// peer cannot have seen it, or the peer has refused it before it was begun: it is safe to try it
// again.
func (e *Error) NotSent() bool { return !e.sent && !e.SentBefore }

// Timeout reports whether the call failed because time was over.
func (e *Error) Timeout() bool {
	return errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, context.DeadlineExceeded)
}

// Temporary is part of net.Error. It is always false; see NotSent for what may be
// tried again.
func (e *Error) Temporary() bool { return false }

// FrameError says that bytes are not a frame that this package takes: Reason says why, Bytes and
// Limit how long the frame is and may be if it is too long, and Received that the peer sent it. One
// that the peer sent ends the connection, since nobody knows where the next frame begins, unless it
// is a reply that is too large: then the call fails alone, where others may share the connection.
type FrameError = frame.Error
