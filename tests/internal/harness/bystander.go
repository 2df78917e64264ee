package harness

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// Callers make calls all the time, each one after the other, while a test does something else.
type Callers struct {
	what  string
	stop  chan struct{}
	done  chan error // gets each caller's first error, or nil
	calls atomic.Int64
}

// KeepCalling starts callers. Each makes its calls with 0, 1, and so on, until one fails or Finish.
func KeepCalling(what string, callers int, call func(n int) error) *Callers {
	c := &Callers{what: what, stop: make(chan struct{}), done: make(chan error, callers)}
	for range callers {
		go func() { c.done <- c.run(call) }()
	}
	return c
}

func (c *Callers) run(call func(n int) error) error {
	for n := 0; ; n++ {
		select {
		case <-c.stop:
			return nil
		default:
		}
		if err := call(n); err != nil {
			return err
		}
		c.calls.Add(1)
	}
}

// Calls returns how many calls have succeeded.
func (c *Callers) Calls() int64 { return c.calls.Load() }

// Finish ends the calls, waits for those under way, and fails the test if one failed.
func (c *Callers) Finish(t testing.TB) {
	t.Helper()
	close(c.stop)
	for range cap(c.done) {
		if err := testkit.Receive(t, "a caller's result", c.done); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// NewBystander starts a caller on a connection of its own, which has been opened, and has had a
// call, when NewBystander returns.
func NewBystander(t testing.TB, s *Server) *Callers {
	t.Helper()
	cli := EchoClient(t, Kiteline, s.Addr)
	if err := CallEcho(context.Background(), cli, 0); err != nil {
		t.Fatal(err)
	}
	return KeepCalling("a call on another connection", 1, func(n int) error { return CallEcho(context.Background(), cli, n) })
}
