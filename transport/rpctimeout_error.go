package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"time"
	"weak"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/rpctimeout"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// CallPhase is how far a call had come when its time was up or its context ended.
type CallPhase uint8

const (
	// PhasePrepare: the call had not asked for a connection. It was in a middleware, in service
	// discovery, or had ended before it began.
	PhasePrepare CallPhase = iota

	// PhaseConnect: the call waited for a connection, or for a place on a shared one, or dialed.
	PhaseConnect

	// PhaseSend: the call had its connection, and its request was encoded or sent. With a shared
	// connection the request may still wait in its queue.
	PhaseSend

	// PhaseReceive: the request had been sent, and the call waited for the reply or read it.
	PhaseReceive

	// PhaseReturn: the reply had been read. It came too late, or a middleware held it up.
	PhaseReturn
)

// String returns the phase as error texts have it.
func (p CallPhase) String() string {
	switch p {
	case PhasePrepare:
		return "prepare"
	case PhaseConnect:
		return "connect"
	case PhaseSend:
		return "send"
	case PhaseReceive:
		return "receive"
	case PhaseReturn:
		return "return"
	}
	return "invalid"
}

// CallError says more about a call that the transport has ended because its time was up or its
// context ended. It is the cause of the error that Kitex returns for such a call, where errors.As
// finds it:
//
//	var ended *transport.CallError
//	if errors.Is(err, kerrors.ErrRPCTimeout) && errors.As(err, &ended) && ended.NotSent() {
//		// it is safe to make the call again
//	}
//
// It matches context.DeadlineExceeded or context.Canceled, and what Err matches, such as
// *mux.Error. It does not match Kitex's own classes of error, such as kerrors.ErrGetConnection,
// even if Err does: to retries and circuit breakers the call is a timeout and nothing else.
//
// A call has no CallError if Kitex keeps its timeout, as with WithKitexTimeouts.
type CallError struct {
	// Phase is how far the call had come.
	Phase CallPhase

	// Err is what the call itself failed with, usually because it had ended. It is nil if it did
	// not fail, or failed only because the call had closed its connection or used up its timeout.
	Err error

	notSent  bool      // in this attempt of Kitex, with all that a middleware has made of it
	attempts *attempts // nil: nothing is known of others
	same     *int32    // see sameCall
	attempt  int       // its number
	of       weak.Pointer[timedCall]
	text     string // Kitex's text; Error begins with it
	why      error  // context.DeadlineExceeded or context.Canceled
}

// NotSent reports whether the peer has not begun the call and will not: nothing of the request was
// handed to the kernel, or the peer refused it. Then it is safe to make the call again. Otherwise
// the peer may have run it, may be running it, or may run it later.
//
// It covers every attempt of a middleware that tries again, and Kitex's own retries and backup
// requests. So it may be false although Err is a *mux.Error of an attempt that was not sent. It
// becomes false when Kitex begins a backup request beside the call.
func (e *CallError) NotSent() bool {
	return e.notSent && (e.attempts == nil && e.attempt == 0 || e.attempts != nil && e.attempts.areOthersUnsent(e.same, e.attempt))
}

// Error implements error. Its text begins with Kitex's.
func (e *CallError) Error() string {
	text := e.text + ", phase=" + e.Phase.String()
	notSent := e.NotSent()
	switch {
	case notSent:
		text += ", not sent"
	case e.notSent || e.Phase < PhaseSend || isAttemptNotSent(e.Err):
		text += ", may have been sent before"
	}
	if e.Err == nil {
		return text
	}
	if failed, ok := e.Err.(*mux.Error); ok && !notSent { //nolint:errorlint // one that is wrapped was told (pool.Call.Fail)
		beside := *failed
		beside.SentBefore = true
		return text + ", cause=" + beside.Error()
	}
	return text + ", cause=" + e.Err.Error()
}

// Is reports whether the call ended because of target, or Err matches it.
func (e *CallError) Is(target error) bool {
	return target == e.why || !kerrors.IsKitexError(target) && errors.Is(e.Err, target)
}

// As finds target in Err.
func (e *CallError) As(target any) bool {
	return e.Err != nil && errors.As(e.Err, target)
}

// callError returns the CallError of a call that has ended because of why and has returned err.
// text is what Kitex says.
func (c *timedCall) callError(text string, why, err error) *CallError {
	e := &CallError{
		Phase: CallPhase(c.phase.Load()), Err: c.cause(err), notSent: c.sent.ruleOut(),
		of: weak.Make(c), text: text, why: why, attempt: attemptOf(c.info),
	}
	if c.keeper != nil {
		e.attempts, e.same = &c.keeper.attempts, sameCall(c.caller)
	}
	if e.notSent && e.Phase == PhaseReceive {
		e.Phase = PhaseSend
	}
	return e
}

// saysNotSent reports whether err, a *mux.Error or *CallError, says that nothing was sent.
func saysNotSent(err error) bool {
	var failed interface{ NotSent() bool }
	return errors.As(err, &failed) && failed.NotSent()
}

// isAttemptNotSent is saysNotSent without regard to other attempts at the same call.
func isAttemptNotSent(err error) bool {
	var failed *mux.Error
	if !errors.As(err, &failed) {
		return saysNotSent(err)
	}
	alone := *failed
	alone.SentBefore = false
	return alone.NotSent()
}

// cause returns what the call failed with, given err, the form in which that came back. It removes
// what Kitex has put around err, and returns nil if err says only that the call has ended.
func (c *timedCall) cause(err error) error {
	var inner *CallError
	if errors.As(err, &inner) && inner.of == weak.Make(c) {
		return inner.Err
	}
	err = withoutKitexs(err)
	//nolint:errorlint // one that is wrapped says more
	if err == nil || err == kerrors.ErrRPCTimeout || err == context.Canceled || err == context.DeadlineExceeded {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reflect.TypeOf(err).Comparable() && err == c.echo { //nolint:errorlint // as above
		return nil
	}
	return err
}

// withoutKitexs returns err without the kinds that Kitex has wrapped it in.
func withoutKitexs(err error) error {
	for {
		kitexs, ok := err.(*kerrors.DetailedError) //nolint:errorlint // the layers are taken off one by one
		if !ok || kitexs.Unwrap() == nil {
			return err
		}
		err = kitexs.Unwrap()
	}
}

// isEcho reports whether err, with which the transport failed a call that has ended, comes only
// from that end: the call closed its connection, or the time it had left was the connection's
// timeout. A shared connection's error says more.
func isEcho(err error) bool {
	return errors.As(err, new(*netpollconn.Error)) && !errors.As(err, new(*mux.Error)) &&
		(errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded))
}

// timeoutError returns the error of a call that has ended because of why and has returned err. The
// error has Kitex's own kind and words (client/rpctimeout.go), and a CallError as its cause.
func (c *timedCall) timeoutError(why, err error) error {
	fine := rpctimeout.LoadGlobalNeedFineGrainedErrCode()
	text := c.description()
	if why == context.Canceled { //nolint:errorlint // as Kitex compares it
		if fine {
			return kerrors.ErrCanceledByBusiness.WithCause(c.callError(text, why, err))
		}
		text += ": " + why.Error() + " by business"
		return kerrors.ErrRPCTimeout.WithCause(c.callError(text, why, err))
	}
	by := c.shortenedBy()
	switch {
	case c.deadline.IsZero():
		text += ", unknown error: context deadline not set?"
	case by == byBusiness:
		text += ", timeout by business, actual=" + c.deadline.Sub(c.start).String()
	case by == byContext:
		text += ", context deadline earlier than timeout, actual=" + c.deadline.Sub(c.start).String()
	}
	cause := c.callError(text, why, err)
	if fine && by == byBusiness {
		return kerrors.ErrTimeoutByBusiness.WithCause(cause)
	}
	return kerrors.ErrRPCTimeout.WithCause(cause)
}

// description says which call it was. Its location is the text that Kitex's users look for in their
// logs.
func (c *timedCall) description() string {
	to := c.info.To()
	text := fmt.Sprintf("timeout=%v, to=%s, method=%s, location=kitex.rpcTimeoutMW", c.timeout, to.ServiceName(), to.Method())
	if address := to.Address(); address != nil {
		text += ", remote=" + address.String()
	}
	return text
}

// shortening says what made a call's deadline earlier than its timeout.
type shortening uint8

const (
	// byNothing: the deadline is the timeout's.
	byNothing shortening = iota

	// byContext: the deadline of the caller's context is a little earlier.
	byContext

	// byBusiness: it is earlier by more than Kitex's threshold, so the caller meant it.
	byBusiness
)

// String returns the shortening in a word.
func (s shortening) String() string {
	switch s {
	case byNothing:
		return "nothing"
	case byContext:
		return "context"
	case byBusiness:
		return "business"
	}
	return "invalid"
}

func (c *timedCall) shortenedBy() shortening {
	switch timely := c.start.Add(c.timeout); {
	case c.deadline.IsZero():
		return byNothing
	case c.timeout <= 0 || c.deadline.Add(rpctimeout.LoadBusinessTimeoutThreshold()).Before(timely):
		return byBusiness
	case c.timeout >= time.Millisecond && c.deadline.Before(timely.Add(-time.Millisecond)):
		return byContext
	}
	return byNothing
}
