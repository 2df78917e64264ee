package testpeer

import (
	"testing"

	"github.com/kiteline/kiteline/internal/testkit/leak"
)

// Main is the body of a TestMain: it runs the tests and ends the process. The run fails if
// goroutines, descriptors or pooled blocks outlive the tests.
func Main(m *testing.M) { leak.Main(m) }
