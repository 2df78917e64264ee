package transport

import (
	"flag"
	"testing"

	"github.com/kiteline/kiteline/transport/internal/leak"
)

// TestMain fails the run if goroutines, descriptors or pooled blocks outlive the tests.
func TestMain(m *testing.M) {
	// Tests that run side by side here wait for most of their time: stopping a Kitex server alone
	// takes 50 ms.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	leak.Main(m)
}
