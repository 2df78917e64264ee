package muxserver

import (
	"testing"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestMain fails the run if goroutines or pooled blocks outlive the tests.
func TestMain(m *testing.M) { testpeer.Main(m) }
