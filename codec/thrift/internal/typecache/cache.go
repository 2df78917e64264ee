package typecache

import (
	"errors"
	"reflect"
	"runtime"
	"strings"
	"sync"
)

// ErrBusy is the error for a type that is asked for by code that runs because of that type, such as
// the type's own code. It says nothing about the type: a later call may succeed.
var ErrBusy = errors.New("asked for by code that runs while a type is found out about")

// Cache has a *T or an error for each type that was asked for.
type Cache[T any] struct {
	found sync.Map // reflect.Type to *T, or to error

	mu sync.Mutex
	// guarded by mu
	busy map[reflect.Type]int // number of goroutines that examine a type
}

// Lookup returns what was found for t, if anything was.
func (c *Cache[T]) Lookup(t reflect.Type) (v *T, err error, ok bool) { //nolint:revive // ok says whether the two others hold
	switch found, _ := c.found.Load(t); found := found.(type) {
	case *T:
		return found, nil, true
	case error:
		return nil, found, true
	}
	return nil, nil, false
}

// Forget drops what is known of t, or of all types if t is nil.
func (c *Cache[T]) Forget(t reflect.Type) {
	if t == nil {
		c.found.Clear()
		return
	}
	c.found.Delete(t)
}

// Of returns what is known of t. If nothing is known, find must find it out and publish it; find
// may publish other types too.
func (c *Cache[T]) Of(t reflect.Type, find func()) (*T, error) {
	if v, err, ok := c.Lookup(t); ok {
		return v, err
	}
	alone := c.enter(t)
	defer c.leave(t)
	if !alone && isInside() {
		return nil, ErrBusy
	}
	findOut(find)
	v, err, ok := c.Lookup(t)
	if !ok {
		return nil, ErrBusy
	}
	return v, err
}

// TryOf is Of for a caller that has another way meanwhile: if another goroutine, or the code that
// runs because of t, already examines t, ready is false.
func (c *Cache[T]) TryOf(t reflect.Type, find func()) (v *T, ready bool, err error) {
	if v, err, ok := c.Lookup(t); ok {
		return v, true, err
	}
	alone := c.enter(t)
	defer c.leave(t)
	if !alone {
		return nil, false, nil
	}
	findOut(find)
	v, err, ready = c.Lookup(t)
	return v, ready, err
}

// Publish makes v, or err if it is not nil, the result for t, unless there is one already. ErrBusy
// is not kept.
func (c *Cache[T]) Publish(t reflect.Type, v *T, err error) {
	switch {
	case errors.Is(err, ErrBusy):
	case err != nil:
		c.found.LoadOrStore(t, err)
	default:
		c.found.LoadOrStore(t, v)
	}
}

// enter reports whether no other call examines t.
func (c *Cache[T]) enter(t reflect.Type) (alone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy == nil {
		c.busy = make(map[reflect.Type]int)
	}
	c.busy[t]++
	return c.busy[t] == 1
}

func (c *Cache[T]) leave(t reflect.Type) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[t]--; c.busy[t] == 0 {
		delete(c.busy, t)
	}
}

// findOut calls find. isInside looks for findOut by its name among the callers.
//
//go:noinline
func findOut(find func()) { find() }

// findOutName is the end of findOut's full name.
const findOutName = "internal/typecache.findOut"

// isInside reports whether its caller runs inside findOut.
func isInside() bool {
	pcs := make([]uintptr, 64)
	for skip := 0; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs)
		if n == 0 {
			return false
		}
		for frames := runtime.CallersFrames(pcs[:n]); ; {
			frame, more := frames.Next()
			if strings.HasSuffix(frame.Function, findOutName) {
				return true
			}
			if !more {
				break
			}
		}
	}
}
