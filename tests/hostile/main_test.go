package hostile

import (
	"testing"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { harness.Main(m) }
