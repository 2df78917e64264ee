package typecache

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
)

// size is what the tests find out about a type.
type size uintptr

func find(c *Cache[size], t reflect.Type) func() {
	return func() {
		n := size(t.Size())
		c.Publish(t, &n, nil)
	}
}

var number, text = reflect.TypeFor[int64](), reflect.TypeFor[string]()

// TestOnce finds out about a type once; an error is kept too.
func TestOnce(t *testing.T) {
	var c Cache[size]
	first, err := c.Of(number, find(&c, number))
	if err != nil || *first != 8 {
		t.Fatalf("got %v, %v", first, err)
	}
	again, ready, err := c.TryOf(number, func() { t.Error("found out again") })
	if again != first || !ready || err != nil {
		t.Errorf("again: got %v, %v, %v", again, ready, err)
	}
	bad := errors.New("bad")
	for range 2 {
		if _, err := c.Of(text, func() { c.Publish(text, nil, bad) }); err != bad {
			t.Errorf("got %v", err)
		}
	}
	c.Forget(text)
	if v, err := c.Of(text, find(&c, text)); err != nil || v == nil {
		t.Errorf("after Forget: got %v, %v", v, err)
	}
}

// TestInside lets the code that examines a type ask for it, and for another one: nothing waits, and
// what is not found out is not kept.
func TestInside(t *testing.T) {
	var c, other Cache[size]
	v, err := c.Of(number, func() {
		if _, err := c.Of(number, find(&c, number)); !errors.Is(err, ErrBusy) {
			t.Errorf("itself: got %v", err)
		}
		if _, ready, err := c.TryOf(number, find(&c, number)); ready || err != nil {
			t.Errorf("itself, for a try: got %v, %v", ready, err)
		}
		if v, err := c.Of(text, find(&c, text)); v == nil || err != nil {
			t.Errorf("another type: got %v, %v", v, err)
		}
		if v, err := other.Of(number, find(&other, number)); v == nil || err != nil {
			t.Errorf("of another cache: got %v, %v", v, err)
		}
		c.Publish(number, nil, fmt.Errorf("below: %w", ErrBusy))
	})
	if v != nil || !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, %v", v, err)
	}
	if v, err := c.Of(number, find(&c, number)); v == nil || err != nil {
		t.Errorf("afterwards: got %v, %v", v, err)
	}
}

// TestDeepInside checks that a call knows that it is inside, however many calls are between.
func TestDeepInside(t *testing.T) {
	var deeper func(n int) bool
	deeper = func(n int) bool {
		if n == 0 {
			return isInside()
		}
		return deeper(n - 1)
	}
	for n := range 200 {
		inside := false
		findOut(func() { inside = deeper(n) })
		if !inside || deeper(n) {
			t.Fatalf("%d calls deep: inside %v, outside %v", n, inside, deeper(n))
		}
	}
}

// TestSeveral checks that goroutines that ask at the same time all go on and get the same result.
func TestSeveral(t *testing.T) {
	var c Cache[size]
	const callers = 8
	var all, done sync.WaitGroup
	all.Add(callers)
	got := [callers]*size{}
	for i := range got {
		done.Go(func() {
			got[i], _ = c.Of(number, func() {
				all.Done()
				all.Wait()
				find(&c, number)()
			})
		})
	}
	done.Wait()
	for i, v := range got {
		if v == nil || v != got[0] {
			t.Errorf("caller %d got another value, or none", i)
		}
	}
}

// TestSpread gives the error of a type once to all types that hold values of it, with the path to
// it.
func TestSpread(t *testing.T) {
	var g Graph[size]
	newSize := func() *size { return new(size) }
	first := g.Node(reflect.TypeFor[[1]int](), nil, newSize)
	second := g.Node(reflect.TypeFor[[2]int](), first, newSize)
	third := g.Node(reflect.TypeFor[[3]int](), second, newSize)
	if again := g.Node(third.Type, third, newSize); again != third {
		t.Error("two nodes of a type")
	}
	fine := g.Node(reflect.TypeFor[[4]int](), second, newSize)
	third.Err = errors.New("no")
	for range 2 {
		g.Spread()
		for n, want := range map[*Node[size]]string{
			third: "[3]int: no", second: "[2]int has a [3]int: no", first: "[1]int has a [2]int has a [3]int: no",
		} {
			if n.Err == nil || n.Err.Error() != want {
				t.Errorf("got %v, want %q", n.Err, want)
			}
		}
	}
	var c Cache[size]
	g.Publish(&c)
	if v, err, ok := c.Lookup(fine.Type); v != fine.Value || err != nil || !ok {
		t.Errorf("got %v, %v, %v", v, err, ok)
	}
	if _, err, ok := c.Lookup(first.Type); err != first.Err || !ok {
		t.Errorf("got %v, %v", err, ok)
	}
}
