package poller

import (
	"testing"

	"github.com/kiteline/kiteline/internal/testkit/leak"
)

// TestMain fails the run if a poller's goroutine or descriptors outlive the tests.
func TestMain(m *testing.M) { leak.Main(m) }
