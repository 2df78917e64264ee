package testkit

import (
	"errors"
	"testing"
)

// outcome is a test that takes down how it failed.
type outcome struct {
	testing.TB
	calls string
}

func (o *outcome) Helper()      {}
func (o *outcome) Fatal(...any) { o.calls += "fatal " }
func (o *outcome) Error(...any) { o.calls += "error " }

// TestErrors: an error fails the test, at once or not, and nil does not.
func TestErrors(t *testing.T) {
	o := &outcome{TB: t}
	Must(o, nil)
	Check(o, nil)
	Must(o, errors.New("a"))
	Check(o, errors.New("b"))
	if got, want := o.calls, "fatal error "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
