package testkit

import (
	"errors"
	"strings"
	"testing"
)

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

// ErrorIs fails the test, which goes on, unless err matches want. It says what failed, if told.
func ErrorIs(t testing.TB, err, want error, what ...string) {
	if !errors.Is(err, want) {
		t.Helper()
		t.Errorf("%sgot %v, want %v", prefix(what), err, want)
	}
}

// Equal fails the test, which goes on, unless got is want. It says what differs, if told.
func Equal[T comparable](t testing.TB, got, want T, what ...string) {
	if got != want {
		t.Helper()
		t.Errorf("%sgot %v, want %v", prefix(what), got, want)
	}
}

func prefix(what []string) string {
	if len(what) == 0 {
		return ""
	}
	return strings.Join(what, ", ") + ": "
}
