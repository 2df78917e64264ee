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
	// ErrClosed is the error of a call whose Set was closed. errors.Is(ErrClosed, net.ErrClosed) is
	// true.
	ErrClosed = cause.ErrClosed

	// ErrOverloaded is the error of a call for which a limit leaves no room, if the policy is
	// FailFast. Nothing of the call was sent.
	ErrOverloaded = errors.New("mux: overloaded")

	// ErrRefused is the error of a call that the peer has not begun and will not begin, because its
	// limits leave no room or because it is going away. The call is safe to retry.
	ErrRefused = errors.New("mux: refused by the peer")

	// ErrOverdue is the error of a call that the peer has not begun because the time given in the
	// request's header was over: the call's own deadline is due. It matches os.ErrDeadlineExceeded
	// under errors.Is.
	ErrOverdue = cause.New("mux: not begun by the peer in its time", os.ErrDeadlineExceeded)

	// ErrSilent is the error of a call whose peer answered no heartbeat, or no ping after a call
	// had timed out. It matches os.ErrDeadlineExceeded under errors.Is.
	ErrSilent = cause.ErrSilent

	// ErrStalled is the error of a call on a connection whose peer has begun a frame and not
	// continued it in time. It matches os.ErrDeadlineExceeded under errors.Is.
	ErrStalled = cause.ErrStalled

	// errIdle is why a connection was closed that had no call for too long.
	errIdle = cause.New("mux: connection idle", net.ErrClosed)

	// errPeerDrains counts as a failed dial: the peer drains its connections before they have
	// carried a call.
	errPeerDrains = errors.New("mux: peer drains its connections")

	// errDrained is why a drained connection was closed.
	errDrained = cause.New("mux: connection drained", net.ErrClosed)

	// ErrElsewhere is the error of BeginUnless and BeginSoon when their caller has got a connection
	// elsewhere, and of BeginSoon also when its caller should look for one there.
	ErrElsewhere = errors.New("mux: made elsewhere")

	// errUnshared is why a connection that is not shared has left the set: its peer does not share
	// it, or its first request did not ask for it.
	errUnshared = cause.New("mux: connection not shared", net.ErrClosed)

	// errAbandoned is why a connection that is not known to be shared was closed: its call went
	// away before the reply came.
	errAbandoned = cause.New("mux: reply still under way", net.ErrClosed)
)

// Error is the error of every call that failed, and of WarmUp. Err says why:
//   - context.Canceled, context.DeadlineExceeded or os.ErrDeadlineExceeded: the caller went away,
//     or its time was over;
//   - io.EOF or io.ErrUnexpectedEOF: the peer closed the connection;
//   - ErrClosed, ErrElsewhere, ErrOverloaded, ErrRefused, ErrOverdue, ErrSilent, ErrStalled,
//     *FrameError;
//   - an error that says "the peer sends no reply": the handler may have run, and gave none;
//   - any other error of the connection or of dialing, such as a *conn.OpError with
//     os.ErrDeadlineExceeded if the peer has not read within WriteTimeout.
type Error struct {
	Op   string   // "begin", "send", "receive" or "warm up"
	Addr net.Addr // the peer; nil if the call had no connection yet
	Err  error    // never nil

	// SentBefore says that another attempt at the same call, before or beside this one, may have
	// been sent. A Set knows nothing of other attempts: the code that makes them sets SentBefore.
	// The suite of package transport sets it too for calls that have no timeout and whose context
	// cannot end, and for all calls with transport.WithKitexTimeouts: it does not know how often
	// those calls are made.
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

// NotSent reports whether the call is safe to retry. It is if SentBefore is false, and either no
// byte of the call was handed to the kernel, nor will be, or the peer has refused the call before
// beginning it.
func (e *Error) NotSent() bool { return !e.sent && !e.SentBefore }

// Timeout reports whether the call failed because time ran out, for the call or for the peer.
func (e *Error) Timeout() bool {
	return errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, context.DeadlineExceeded)
}

// Temporary is part of net.Error. It always returns false; see NotSent for what is safe to retry.
func (e *Error) Temporary() bool { return false }

// FrameError says that bytes are not a frame that this package takes. A received bad frame ends the
// connection, since its reader cannot tell where the next frame begins. The exception is a reply
// that is too large on a shared connection, which fails only its own call.
type FrameError struct {
	Reason   string
	Bytes    int  // the length that a frame has or claims, if it is wrong; otherwise 0
	Limit    int  // the limit that Bytes exceeds; 0: no limit is exceeded
	Received bool // the peer sent it; otherwise this side wanted to
}

// Error implements error.
func (e *FrameError) Error() string { return (*frame.Error)(e).Error() }

// As lets errors.As find the error as a *muxserver.FrameError too.
func (e *FrameError) As(target any) bool { return (*frame.Error)(e).As(target) }

// ofFrame returns err, as a *FrameError if it is about a frame.
func ofFrame(err error) error {
	if err == nil {
		return nil
	}
	var bad *frame.Error // on the heap, for errors.As
	if errors.As(err, &bad) {
		return (*FrameError)(bad)
	}
	return err
}
