package faults

import (
	"flag"
	"testing"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

var long = flag.Bool("long", false, "cut streams off after each number of bytes")

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { harness.Main(m) }
