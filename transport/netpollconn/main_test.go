//go:build !windows

package netpollconn_test

import (
	"testing"

	"github.com/kiteline/kiteline/transport/internal/leak"
)

// TestMain fails the run if goroutines, descriptors or pooled blocks outlive the tests.
func TestMain(m *testing.M) { leak.Main(m) }
