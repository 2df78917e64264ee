package pool

import (
	"testing"

	"github.com/kiteline/kiteline/internal/testkit/leak"
)

// TestMain fails the run if goroutines, descriptors or pooled blocks outlive the tests.
func TestMain(m *testing.M) { leak.Main(m, leak.Kitex()...) }
