package testkit

import (
	"runtime"
	"testing"
	"time"
)

// Patience is how long Eventually and Receive wait: far longer than any step should take, even on a
// busy machine. No test states it as a bound: a test that passes waits only for a moment.
const Patience = 15 * time.Second

// pollInterval is how often a condition without an event is looked at.
const pollInterval = time.Millisecond

// Eventually waits until condition holds. If it does not within Patience, Eventually fails the test
// and prints what all goroutines do. It is for conditions without an event to wait for.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !HoldsWithin(Patience, condition) {
		t.Fatalf("after %v still not: %s\n%s", Patience, what, stacks())
	}
}

// Holds waits until condition holds, and reports whether it did within Patience.
func Holds(condition func() bool) bool { return HoldsWithin(Patience, condition) }

// HoldsWithin waits until condition holds, and reports whether it did within d.
func HoldsWithin(d time.Duration, condition func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			return condition()
		}
	}
	return true
}

// Settles waits until get returns want. If it does not within Patience, Settles fails the test with
// the last value.
func Settles[T comparable](t testing.TB, what string, get func() T, want T) {
	t.Helper()
	var got T
	if !Holds(func() bool { got = get(); return got == want }) {
		t.Fatalf("%s: got %v after %v, want %v", what, got, Patience, want)
	}
}

// Receive takes a value from c, or notices that c is closed. If neither happens within Patience, it
// fails the test and prints what all goroutines do.
func Receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		t.Fatalf("after %v nothing received: %s\n%s", Patience, what, stacks())
		panic("not reached")
	}
}

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}
