package buffer

import "unsafe"

// bytesOf returns the bytes of s without copying, s not empty.
func bytesOf(s string) []byte {
	// SAFETY: a string's bytes never change and the garbage collector keeps them while the
	// slice is reachable; blocks of kindForeign are never written to.
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// stringOf returns p as a string without copying, p not empty.
func stringOf(p []byte) string {
	// SAFETY: every caller just allocated p and keeps no other reference to it.
	return unsafe.String(unsafe.SliceData(p), len(p))
}
