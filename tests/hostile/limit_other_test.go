//go:build !linux

package hostile

import (
	"runtime/debug"
	"testing"
)

func limitMemory(*testing.T) { debug.SetMemoryLimit(256 << 20) }
