package testkit

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

// outcome is a test that takes down how it failed.
type outcome struct {
	testing.TB
	calls string
}

func (o *outcome) Helper()                      {}
func (o *outcome) Fatal(args ...any)            { o.calls += "fatal " + fmt.Sprintln(args...) }
func (o *outcome) Error(args ...any)            { o.calls += "error " + fmt.Sprintln(args...) }
func (o *outcome) Errorf(form string, a ...any) { o.Error(fmt.Sprintf(form, a...)) }

// TestChecks: what holds passes, and what does not fails the test, at once or not.
func TestChecks(t *testing.T) {
	o := &outcome{TB: t}
	Must(o, nil)
	Check(o, nil)
	ErrorIs(o, fmt.Errorf("around %w", io.EOF), io.EOF)
	ErrorIs(o, nil, nil)
	Equal(o, 1, 1)
	if o.calls != "" {
		t.Errorf("got %q, want no failure", o.calls)
	}
	Must(o, errors.New("a"))
	Check(o, errors.New("b"))
	ErrorIs(o, nil, io.EOF, "reading")
	ErrorIs(o, io.EOF, nil)
	Equal(o, "x", "y", "letter")
	Equal(o, 1, 2)
	const want = "fatal a\nerror b\nerror reading: got <nil>, want EOF\nerror got EOF, want <nil>\n" +
		"error letter: got x, want y\nerror got 1, want 2\n"
	if o.calls != want {
		t.Errorf("got %q, want %q", o.calls, want)
	}
}
