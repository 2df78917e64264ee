package testkit

import "testing"

// Must ends the test, as failed, unless err is nil. Only the test's own goroutine may call it.
func Must(t testing.TB, err error) {
	if err != nil { // first: benchmarks call it in their loops
		t.Helper()
		t.Fatal(err)
	}
}

// Check fails the test, which goes on, unless err is nil.
func Check(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Error(err)
	}
}
