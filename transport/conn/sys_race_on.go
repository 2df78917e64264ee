//go:build linux && race

package conn

import (
	"runtime"
	"unsafe"
)

// The race detector does not see what a direct system call reads and writes. These functions tell
// it, as x/sys does for its own calls.

// kernelWrote tells that the kernel has written p.
func kernelWrote(p []byte) {
	if len(p) > 0 {
		// SAFETY: p is not empty; nothing is accessed.
		runtime.RaceWriteRange(unsafe.Pointer(unsafe.SliceData(p)), len(p))
	}
}

// kernelReads tells that the kernel is about to read p.
func kernelReads(p []byte) {
	if len(p) > 0 {
		// SAFETY: as in kernelWrote.
		runtime.RaceReadRange(unsafe.Pointer(unsafe.SliceData(p)), len(p))
	}
}
