package transport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/rpctimeout"
)

// timeoutError returns the error of a call that has ended because of why, in
// Kitex's own kinds and words (client/rpctimeout.go).
func (c *timedCall) timeoutError(why error) error {
	fine := rpctimeout.LoadGlobalNeedFineGrainedErrCode()
	text := c.description()
	if why == context.Canceled { //nolint:errorlint // as Kitex compares it
		if fine {
			return kerrors.ErrCanceledByBusiness.WithCause(errors.New(text))
		}
		return kerrors.ErrRPCTimeout.WithCause(fmt.Errorf("%s: %w by business", text, why))
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
	if fine && by == byBusiness {
		return kerrors.ErrTimeoutByBusiness.WithCause(errors.New(text))
	}
	return kerrors.ErrRPCTimeout.WithCause(errors.New(text))
}

// description says which call it was. The location is the one that Kitex's
// users look for in their logs.
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

	// byBusiness: it is earlier by more than Kitex's threshold, so somebody meant it.
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
