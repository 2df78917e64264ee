// Package callback calls the user's functions. A function may end in three ways: it returns, it
// panics, or it ends its goroutine, as testing.T.FailNow does (runtime.Goexit).
//
// A panic can be recovered. An ending goroutine cannot be stopped: it runs its deferred functions,
// and nothing else. So what must happen after a callback happens in a deferred function (Run), or
// the callback gets a goroutine of its own (Apart). All functions may be called from any goroutine.
package callback

import (
	"errors"
	"runtime/debug"
)

// ErrGoexit is the Value of a Failure whose callback has ended its goroutine.
var ErrGoexit = errors.New("callback ended its goroutine (runtime.Goexit)")

// Failure says how a callback that did not return has ended.
type Failure struct {
	Value any    // the argument of panic; ErrGoexit without a panic
	Stack []byte // the goroutine's stack at that moment, as debug.Stack prints it

	exits bool
}

// EndsGoroutine reports whether the callback has ended its goroutine. Then only deferred functions
// run on it from now on. It is false for nil.
func (f *Failure) EndsGoroutine() bool { return f != nil && f.exits }

// Run calls f, and then after on the same goroutine. The argument of after is nil if f has
// returned. If f has ended the goroutine Run does not return, so what must happen in any case
// belongs in after, which may block and may call Run. Run allocates nothing unless f fails.
func Run(f func(), after func(*Failure)) {
	var failure *Failure
	exits := true
	defer func() {
		if exits {
			failure.exits = true
		}
		after(failure)
	}()
	try(f, &failure)
	exits = false
}

// try calls f and returns unless f ends the goroutine. A deferred function of an ending goroutine
// may panic, and recovering that does not keep the goroutine alive. So a panic alone does not show
// that the goroutine goes on.
func try(f func(), failure **Failure) {
	returned := false
	defer func() {
		if returned {
			return
		}
		value := recover() // for panic(nil) it is a *runtime.PanicNilError
		if value == nil {
			value = ErrGoexit
		}
		*failure = &Failure{Value: value, Stack: debug.Stack()}
	}()
	f()
	returned = true
}

// Apart calls f on a goroutine of its own and waits until f has ended. It returns nil if f has
// returned. The caller's goroutine goes on however f ends, so EndsGoroutine is about f's. Apart
// costs a goroutine, about half a microsecond, and is for rare callbacks.
func Apart(f func()) *Failure {
	ended := make(chan *Failure, 1)
	go Run(f, func(failure *Failure) { ended <- failure })
	return <-ended
}
