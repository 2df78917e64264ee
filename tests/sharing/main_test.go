package sharing

import (
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) {
	harness.SideBySide()
	promise.Main(m, harness.Run)
}

// TestRole plays the roles of processes that other tests start.
func TestRole(t *testing.T) {
	harness.Play(t, map[string]func(*testing.T, *harness.Role){"server": serve})
}

// beside runs the test beside others in its short form, and alone in the long one, which measures.
func beside(t *testing.T) {
	t.Helper()
	if testkit.Long {
		promise.Alone(t)
		return
	}
	t.Parallel()
}
