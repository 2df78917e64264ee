package conn

import (
	"testing"
	"unsafe"
)

// TestConnSize: a Conn fits a size class of Go's allocator, which puts a word of its own before it.
// One more word would cost each connection 128 bytes.
func TestConnSize(t *testing.T) {
	if got, most := unsafe.Sizeof(Conn{}), uintptr(1024-8); got > most {
		t.Errorf("got %d bytes, want %d at most", got, most)
	}
}
