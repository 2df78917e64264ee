package transport

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/cloudwego/kitex/pkg/retry"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
)

// Kitex makes each retry of a call, and each backup request, as a call of its own. All that these
// attempts have in common is the address of a number in their contexts (retry.PrepareRetryContext).
// The caller gets the error of any one of them, and that error must say whether any attempt was
// sent.

// attempts knows the calls of a client that have had a second attempt, or an attempt that failed
// unsent. The zero value has none.
type attempts struct {
	calls sync.Map // weak.Pointer[int32] of sameCall: *attemptsOf; goes with its call
}

// attemptsOf is what is known of the attempts at one call. Each attempt is a bit: 1 is the first.
type attemptsOf struct {
	begun  atomic.Uint64 // the attempts begun, except the first
	unsent atomic.Uint64 // those that failed; nothing of them has left or will leave
}

// sameCall returns what all attempts at the call of ctx have in common; nil if Kitex gave the call
// no such number.
func sameCall(ctx context.Context) *int32 {
	same, _ := ctx.Value(retry.CtxReqOp).(*int32)
	return same
}

// attemptOf returns which attempt info belongs to, counted from 0.
func attemptOf(info rpcinfo.RPCInfo) int {
	tag, again := info.To().Tag(rpcinfo.RetryTag)
	if !again {
		return 0
	}
	n, err := strconv.Atoi(tag)
	if err != nil || n <= 0 || n > 62 {
		return 63 // stands for an unknown one
	}
	return n
}

// find returns what is known of a call; nil if there is nothing.
func (a *attempts) find(same *int32) *attemptsOf {
	known, _ := a.calls.Load(weak.Make(same))
	of, _ := known.(*attemptsOf)
	return of
}

// of is find, but adds the call if it is unknown.
func (a *attempts) of(same *int32) *attemptsOf {
	if of := a.find(same); of != nil {
		return of
	}
	key := weak.Make(same)
	known, before := a.calls.LoadOrStore(key, new(attemptsOf))
	if !before {
		runtime.AddCleanup(same, func(key weak.Pointer[int32]) { a.calls.Delete(key) }, key)
	}
	return known.(*attemptsOf) //nolint:errcheck // the only type that is stored
}

// begin notes that an attempt at the call of ctx begins.
func (a *attempts) begin(ctx context.Context, info rpcinfo.RPCInfo) {
	n := attemptOf(info)
	if n == 0 {
		return
	}
	if same := sameCall(ctx); same != nil {
		a.of(same).begun.Or(1 << n)
	}
}

// failUnsent notes that the attempt of info has failed, and that nothing of it has left or will
// leave.
func (a *attempts) failUnsent(ctx context.Context, info rpcinfo.RPCInfo) {
	if same := sameCall(ctx); same != nil {
		a.of(same).unsent.Or(1 << attemptOf(info))
	}
}

// areOthersUnsent reports whether nothing of any other attempt has left or will leave.
func (a *attempts) areOthersUnsent(same *int32, attempt int) bool {
	earlier := uint64(1)<<attempt - 1
	if same == nil {
		return earlier == 0
	}
	of := a.find(same)
	if of == nil {
		return earlier == 0
	}
	others := (of.begun.Load() | earlier) &^ (1 << attempt)
	return others&^of.unsent.Load() == 0
}
