package interop

import (
	"flag"
	"testing"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

var long = flag.Bool("long", false, "make 10,000 calls in each cell of the matrix")

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) {
	if harness.Slowdown == 1 { // with the race detector calls need the processor most of the time
		harness.SideBySide()
	}
	harness.Main(m)
}

// callsPerCell returns how many calls a cell gets: enough to reuse connections and to mix sizes, or
// all of them on request.
func callsPerCell() int {
	if *long {
		return 10_000
	}
	return 200
}
