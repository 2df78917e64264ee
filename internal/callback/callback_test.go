package callback

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
)

// The ways in which a function can end, and what a Failure says of each.
var endings = []struct {
	name  string
	f     func()
	value any // nil: it has returned
	exits bool
}{
	{"return", func() {}, nil, false},
	{"panic", func() { panic("boom") }, "boom", false},
	{"Goexit", runtime.Goexit, ErrGoexit, true},
	{"panic with ErrGoexit", func() { panic(ErrGoexit) }, ErrGoexit, false},
	{"panic in Goexit's deferred functions", func() { defer func() { panic("late") }(); runtime.Goexit() }, "late", true},
}

func TestRun(t *testing.T) {
	for _, tc := range endings {
		t.Run(tc.name, func(t *testing.T) {
			var got *Failure
			calls, goesOn := 0, false
			done := make(chan struct{})
			go func() {
				defer close(done)
				Run(tc.f, func(f *Failure) { got = f; calls++ })
				goesOn = true
			}()
			<-done
			check(t, got, tc.value, tc.exits)
			if calls != 1 {
				t.Errorf("after was called %d times, want once", calls)
			}
			if goesOn == tc.exits {
				t.Errorf("the goroutine goes on: got %v, want %v", goesOn, !tc.exits)
			}
		})
	}
}

func TestApart(t *testing.T) {
	for _, tc := range endings {
		t.Run(tc.name, func(t *testing.T) { check(t, Apart(tc.f), tc.value, tc.exits) })
	}
}

// TestNested: a function that after calls may itself end in any way.
func TestNested(t *testing.T) {
	var order []string
	note := func(name string) func(*Failure) {
		return func(f *Failure) { order = append(order, name) }
	}
	outer := Apart(func() {
		defer note("deferred")(nil)
		Run(runtime.Goexit, func(*Failure) {
			note("outer")(nil)
			Run(func() { panic("inner") }, note("panic"))
			Run(runtime.Goexit, note("inner"))
			t.Error("the goroutine goes on after it has ended twice")
		})
	})
	check(t, outer, ErrGoexit, true)
	if got, want := len(order), 4; got != want {
		t.Errorf("got %v, want %d steps", order, want)
	}
}

func check(t *testing.T, got *Failure, value any, exits bool) {
	t.Helper()
	if got.EndsGoroutine() != exits {
		t.Errorf("EndsGoroutine: got %v, want %v", got.EndsGoroutine(), exits)
	}
	switch {
	case value == nil && got != nil:
		t.Errorf("got %v, want nil", got.Value)
	case value == nil:
	case got == nil:
		t.Errorf("got nil, want a failure with %v", value)
	case got.Value != value:
		t.Errorf("got %v, want %v", got.Value, value)
	case !bytes.Contains(got.Stack, []byte("callback")):
		t.Errorf("got stack %s, want this package in it", got.Stack)
	}
	if err, ok := value.(error); ok && !errors.Is(got.Value.(error), err) {
		t.Errorf("got %v, want %v", got.Value, value)
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	n := 0
	if got := testing.AllocsPerRun(100, func() { Run(func() { n++ }, func(*Failure) { n++ }) }); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}
