package pool

import (
	"context"
	"time"

	"github.com/cloudwego/kitex/pkg/rpcinfo"
)

// TimedCall is a call whose transport ends it, at a deadline or with its caller's context, as the
// suites of package transport do. A pool ends the call's waits and dials at that moment, and the
// errors of its attempts say what is known of the others. Its methods may be called from any
// goroutine.
//
// A pool looks for a TimedCall among the values of the context of Get, under TimedCallKey, and
// disregards one whose RPCInfo is not the context's. The context of Get ends when the call does;
// Limits says the same without a timer or a channel, and only a Mux asks for it.
type TimedCall interface {
	// RPCInfo returns the call's. It tells the call from a nested one, whose context has the values
	// of the outer one's.
	RPCInfo() rpcinfo.RPCInfo

	// Limits returns how long the call may wait: until a context is done, and until a deadline,
	// zero for none. To wait for these costs neither a timer nor a channel.
	Limits() (context.Context, time.Time)

	// BeginSending counts an attempt to send the request. It fails if the caller was told that
	// nothing was sent: then the attempt must not be made.
	BeginSending() error

	// UndoSending takes back an attempt of which nothing has left or will leave.
	UndoSending()

	// MayHaveBeenSent reports whether an attempt that counts, or another of Kitex's attempts at the
	// same call, may have been sent.
	MayHaveBeenSent() bool
}

// TimedCallKey is the key under which a context has its TimedCall.
type TimedCallKey struct{}

// timedCallOf returns the TimedCall that ctx belongs to; nil if the call is not timed.
func timedCallOf(ctx context.Context) TimedCall {
	if c, ok := ctx.Value(TimedCallKey{}).(TimedCall); ok && c.RPCInfo() == rpcinfo.GetRPCInfo(ctx) {
		return c
	}
	return nil
}
