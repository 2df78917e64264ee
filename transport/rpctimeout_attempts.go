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

// Kitex makes each retry of a call, and each backup request beside one, as a call of its own, after
// the first: all that they have in common is the place of a number in their contexts
// (retry.PrepareRetryContext). Each may be the one whose error the caller gets, which is to say
// whether any of them was sent.

// attempts are the calls of a client of which it matters that several attempts may be made: those
// of which there was a second one, or one that has failed unsent. The zero value has none.
type attempts struct {
	calls sync.Map // weak.Pointer[int32] of sameCall: *attemptsOf; an entry goes with what it points to
}

// attemptsOf is what is known of the attempts at one call. They are bits: 1 is the first one.
type attemptsOf struct {
	begun  atomic.Uint64 // except the first
	unsent atomic.Uint64 // have failed, nothing of them has left, and nothing will
}

// sameCall returns what all attempts at the call of ctx have in common; nil if there is no such
// thing.
func sameCall(ctx context.Context) *int32 {
	same, _ := ctx.Value(retry.CtxReqOp).(*int32)
	return same
}

// attemptOf returns which attempt info is that of, from 0.
func attemptOf(info rpcinfo.RPCInfo) int {
	tag, again := info.To().Tag(rpcinfo.RetryTag)
	if !again {
		return 0
	}
	n, err := strconv.Atoi(tag)
	if err != nil || n <= 0 || n > 62 {
		return 63 // of which nothing is known
	}
	return n
}

// find returns what is known of a call; nil if there is nothing.
func (a *attempts) find(same *int32) *attemptsOf {
	known, _ := a.calls.Load(weak.Make(same))
	of, _ := known.(*attemptsOf)
	return of
}

// of is find, and begins to know of the call.
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

// begin notes that an attempt begins at the call of ctx.
func (a *attempts) begin(ctx context.Context, info rpcinfo.RPCInfo) {
	n := attemptOf(info)
	if n == 0 {
		return
	}
	if same := sameCall(ctx); same != nil {
		a.of(same).begun.Or(1 << n)
	}
}

// failUnsent notes that it has failed, that nothing of it has left, and that nothing will.
func (a *attempts) failUnsent(ctx context.Context, info rpcinfo.RPCInfo) {
	if same := sameCall(ctx); same != nil {
		a.of(same).unsent.Or(1 << attemptOf(info))
	}
}

// areOthersUnsent reports whether nothing of the attempts beside this one has left, nor will.
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
