package hardening

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) {
	// Tests that run in parallel here wait most of their time.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	promise.Main(m, harness.Run)
}

// TestRole plays the roles of the processes that other tests start.
func TestRole(t *testing.T) {
	harness.Play(t, map[string]func(*testing.T, *harness.Role){"server": serve})
}

// alone keeps other tests away from one that measures. In its short form a test measures nothing,
// and runs beside others.
func alone(t *testing.T) {
	t.Helper()
	if !testkit.Long {
		t.Parallel()
	}
	promise.Alone(t)
}

// busy is how much a test in its short form may miss a time: it shares its machine.
var busy = testkit.Scale(3*time.Second, 0)

// checkTime records whether took is within bound, which is multiplied under the race detector.
func checkTime(t testing.TB, name string, took, bound time.Duration) {
	t.Helper()
	promise.Check(t, name, fmt.Sprintf("<= %v", bound), took.Round(10*time.Microsecond).String(), took <= bound*testkit.Slowdown+busy)
}
