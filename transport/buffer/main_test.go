package buffer_test

import (
	"testing"

	"github.com/kiteline/kiteline/internal/testkit/leak"
)

// TestMain fails if memory blocks are left over, in a build with the tag buffercheck.
func TestMain(m *testing.M) { leak.Main(m) }
