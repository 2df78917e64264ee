package promise

import (
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// Alone waits until no test of any package is in Alone or Among, and keeps all of them out until t
// ends, however many come for Among meanwhile. It is for tests that measure; keep them short. In a
// build without the tag long, which measures nothing, neither function waits.
func Alone(t testing.TB) {
	t.Helper()
	if !testkit.Long {
		return
	}
	began := time.Now()
	release, err := lock(exclusive)
	if err != nil {
		t.Fatalf("waiting to be alone: %v", err)
	}
	t.Cleanup(release)
	if waited := time.Since(began); waited > time.Second {
		t.Logf("waited %v to be alone", waited.Round(time.Second))
	}
}

// Among waits until no test of another package is in Alone, and keeps tests out of Alone until t
// ends. A test that is in either must not ask for one of them again.
func Among(t testing.TB) {
	t.Helper()
	if !testkit.Long {
		return
	}
	release, err := lock(shared)
	if err != nil {
		t.Fatalf("waiting for tests that measure: %v", err)
	}
	t.Cleanup(release)
}

// lockKind is how a lock is held.
type lockKind int

const (
	shared    lockKind = iota // beside others that are shared
	exclusive                 // beside none
)
