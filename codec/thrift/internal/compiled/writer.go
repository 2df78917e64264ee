package compiled

// Writer is where Encode writes. Encode calls it on the goroutine of its caller. *buffer.LinkBuffer
// is one.
type Writer interface {
	// Malloc appends n bytes, n > 0, and returns them to be filled in. They stay in place until
	// they are flushed, or dropped by MallocAck.
	Malloc(n int) ([]byte, error)

	// MallocLen returns the number of bytes appended since the last flush, inserted ones included.
	MallocLen() int

	// MallocAck keeps the first n of these bytes and drops the rest.
	MallocAck(n int) error

	// WriteDirect inserts p, at least 4 KiB, by reference, in front of the last remainCap bytes
	// that Malloc appended. p is only read, and does not change until the flush.
	WriteDirect(p []byte, remainCap int) error
}
