package transport

import (
	"flag"
	"testing"

	"github.com/kiteline/kiteline/internal/stock"
	"github.com/kiteline/kiteline/internal/testkit/leak"
)

// TestMain fails the run if goroutines, descriptors or pooled blocks outlive the tests.
func TestMain(m *testing.M) {
	// Tests that run in parallel here spend most of their time waiting: stopping a Kitex server
	// alone takes 50 ms.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	stock.StartPollers()
	leak.Main(m, leak.Kitex()...)
}
