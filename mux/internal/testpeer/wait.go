package testpeer

import (
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// Patience is how long a test waits for what must happen.
const Patience = testkit.Patience

// WaitFor fails the test unless ok becomes true.
func WaitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, what, ok)
}
