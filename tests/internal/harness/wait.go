package harness

import (
	"testing"
	"time"
)

// Patience is how long Eventually waits: far longer than any step should take, even on a busy
// machine. No test states it as a bound: a test that passes waits only for a moment.
const Patience = 15 * time.Second

const pollInterval = time.Millisecond

// Eventually waits until condition holds, and fails the test if it does not within Patience. It is
// for conditions without an event to wait for.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !holdsWithin(Patience, condition) {
		t.Fatalf("after %v still not: %s", Patience, what)
	}
}

// Holds waits until condition holds, and reports whether it did within Patience.
func Holds(condition func() bool) bool { return holdsWithin(Patience, condition) }

// Settles waits until get returns want. If it does not within Patience, Settles fails the test with
// the last value.
func Settles[T comparable](t testing.TB, what string, get func() T, want T) {
	t.Helper()
	var got T
	if !holdsWithin(Patience, func() bool { got = get(); return got == want }) {
		t.Fatalf("%s: got %v after %v, want %v", what, got, Patience, want)
	}
}

// Receive takes a value from c, and fails the test if none comes within Patience.
func Receive[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		t.Fatalf("after %v nothing received: %s", Patience, what)
		panic("not reached")
	}
}

// holdsWithin reports whether condition became true within d.
func holdsWithin(d time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(d)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		<-ticker.C
	}
	return true
}
