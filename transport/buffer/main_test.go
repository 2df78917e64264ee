package buffer

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// TestMain fails if memory blocks are left over, in a build with the tag buffercheck.
func TestMain(m *testing.M) {
	code := m.Run()
	if n, ok := Outstanding(); ok && n != 0 {
		// Blocks that tests leave to the garbage collector on purpose no longer count once it has
		// found them. Its cleanups run on a goroutine of their own.
		for range 100 {
			runtime.GC()
			runtime.Gosched()
			if n, _ = Outstanding(); n == 0 {
				break
			}
		}
		if n != 0 {
			fmt.Fprintf(os.Stderr, "buffer: %d blocks outstanding after all tests\n", n)
			code = 1
		}
	}
	os.Exit(code)
}
