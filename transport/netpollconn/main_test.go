//go:build !windows

package netpollconn_test

import (
	"testing"

	"github.com/kiteline/kiteline/internal/stock"
	"github.com/kiteline/kiteline/internal/testkit/leak"
)

// TestMain fails the run if goroutines, descriptors or pooled blocks outlive the tests.
func TestMain(m *testing.M) {
	stock.StartPollers()
	leak.Main(m, leak.Kitex()...)
}
