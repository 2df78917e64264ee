package faults

import (
	"testing"

	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// TestMain prints what was seen, and fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { promise.Main(m, harness.Run) }
