package listeners

import (
	"flag"
	"testing"

	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// TestMain fails if goroutines or sockets are left over: an Accept that nothing ended is let go of
// by its test.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "32"); err != nil { // they wait for most of their time
		panic(err)
	}
	promise.Main(m, harness.Run)
}
