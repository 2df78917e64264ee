package listeners

import (
	"flag"
	"testing"

	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// TestMain fails if goroutines or sockets are left over. A test whose Accept does not end lets it
// go.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "32"); err != nil { // the tests wait most of their time
		panic(err)
	}
	promise.Main(m, harness.Run)
}
