package hostile

import (
	"runtime/debug"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// limitMemory ends this process if it reserves much memory. The race detector itself reserves more.
func limitMemory(t *testing.T) {
	debug.SetMemoryLimit(256 << 20)
	if testkit.Race {
		return
	}
	const bytes = 4 << 30
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: bytes, Max: bytes}); err != nil {
		t.Fatal(err)
	}
}
