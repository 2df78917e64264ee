package interop

import (
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) {
	if !testkit.Race { // with the race detector calls need the processor most of the time
		harness.SideBySide()
	}
	harness.Main(m)
}

// callsPerCell returns how many calls a cell gets: enough to reuse connections and to mix sizes, or
// all of them on request.
func callsPerCell() int {
	return testkit.Scale(200, 10_000)
}
