package testpeer

import (
	"runtime"
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen.
const Patience = 20 * time.Second

// WaitFor fails the test unless ok becomes true.
func WaitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			buf := make([]byte, 1<<20)
			t.Fatalf("%s: not within %v\n%s", what, Patience, buf[:runtime.Stack(buf, true)])
		}
	}
}
