// Package callback calls functions of the user's, which may end in three ways: they return, they
// panic, or they end their goroutine, as testing.T.FailNow does (runtime.Goexit).
//
// A panic can be recovered; an ending goroutine cannot. It still runs its deferred functions, and
// nothing else. So what must happen after a callback happens in a deferred function (Run), or the
// callback gets a goroutine of its own (Apart). All functions may be called from any goroutine.
package callback

import (
	"errors"
	"runtime/debug"
)

// ErrGoexit is the Value of a Failure whose callback has ended its goroutine.
var ErrGoexit = errors.New("callback ended its goroutine (runtime.Goexit)")

// Failure says how a callback ended that has not returned.
type Failure struct {
	Value any    // what was passed to panic; ErrGoexit without a panic
	Stack []byte // the goroutine's stack at that moment, as debug.Stack prints it

	exits bool
}

// EndsGoroutine reports whether the callback has ended its goroutine: then only deferred
// functions run on it from now on. It is false for nil.
func (f *Failure) EndsGoroutine() bool { return f != nil && f.exits }

// Run calls f, and then on the same goroutine after, whose argument is nil if f has returned.
// If f has ended the goroutine Run does not return: what must happen in any case belongs into
// after, which may block and may call Run. It allocates nothing unless f fails.
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

// try calls f and returns unless f ends the goroutine, in whose deferred functions a panic can be
// recovered without keeping it alive. So a panic alone does not tell that the goroutine goes on.
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
// returned. The caller's goroutine goes on however f ends, so EndsGoroutine means f's. It costs
// a goroutine, about half a microsecond, and is for callbacks that are rare.
func Apart(f func()) *Failure {
	ended := make(chan *Failure, 1)
	go Run(f, func(failure *Failure) { ended <- failure })
	return <-ended
}
