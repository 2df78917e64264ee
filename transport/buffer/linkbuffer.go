package buffer

import (
	"io"
	"math"
)

// MaxBytes is the largest length that a method takes in one call.
const MaxBytes = math.MaxInt32

// LinkBuffer is a queue of bytes in linked, pooled blocks of memory: written at its tail,
// read at its front, without copying. The zero value is an empty buffer ready to use; it
// must not be copied after first use.
//
// It is used by one goroutine at a time. A Reader made by Slice is a LinkBuffer of its own
// that may be used on another goroutine at the same time as the one it was made from.
type LinkBuffer struct {
	// The chain: head … read … tail, linked by next. All three are nil, or none is.
	// Changed in chain.go only.
	head *block // first block; head … read hold what was read and not yet released
	read *block // first block that may have bytes to read; blocks before it have none
	tail *block // last block, where writes go

	// The blocks read … tail hold, in this order, length readable bytes and malloced bytes that
	// wait for Flush.
	length   int
	malloced int

	// For WriteDirect. Valid until the next Flush.
	inserted  int    // the bytes among malloced that WriteDirect inserted
	cursor    *block // the last insertion, or nil if not known
	cursorPos int    // malloced, not inserted bytes before cursor
	spare     *block // block before a linked tail that still has room, or nil

	// For Reserve.
	pending    *block // reserved block that is not in the chain yet, or nil
	target     *block // tail that must be filled first to keep bytes together, or nil
	want       int    // least room that a new block should have, 0 if it does not matter
	reserved   int    // length of the slice of the last Reserve, 0 after Commit
	readSize   int    // see nextReadSize; 0 counts as readMin
	smallReads int    // reads in a row that were small compared with readSize

	nodes     *block // blocks without memory kept for reuse while the chain is not empty
	nodeCount int    // length of the list nodes

	src    Source
	sink   Sink
	failed error // why writing has ended: ErrClosed, or the error of Drain; nil otherwise
	closed bool  // Close was called: the chain is empty and stays so

	tuning *tuning // nil outside of tests
}

var (
	_ Reader      = (*LinkBuffer)(nil)
	_ Writer      = (*LinkBuffer)(nil)
	_ FrameReader = (*LinkBuffer)(nil)
	_ Linker      = (*LinkBuffer)(nil)
	_ io.Closer   = (*LinkBuffer)(nil)
)

// Bind sets the Source of a read beyond Len and the Sink of Flush. Either may be nil. Without a
// Source such a read fails at once with a *ShortError; without a Sink Flush makes the written bytes
// readable. Bytes in the buffer stay, and an earlier failure of a Sink is forgotten. Bind has no
// effect after Close.
func (b *LinkBuffer) Bind(src Source, sink Sink) {
	if b.closed {
		return
	}
	b.src, b.sink, b.failed = src, sink, nil
}

// Len returns the number of bytes that can be read without waiting. Bytes written but not
// flushed do not count.
func (b *LinkBuffer) Len() int { return b.length }

// MallocLen returns the number of bytes written since the last Flush.
func (b *LinkBuffer) MallocLen() int { return b.malloced }

// Release gives back the memory of everything read so far; slices from Next, Peek and
// Until become invalid. A buffer that is then empty holds no memory. It always returns nil.
func (b *LinkBuffer) Release() error {
	if b.length+b.malloced == 0 {
		b.freeAll()
		return nil
	}
	b.skipEmpty()
	b.freeRead()
	b.head.grown = false // no slice of it is in use, so it may go back to its pool
	checkReleased(b.head)
	return nil
}

// Close drops all bytes, readable or not flushed, and gives their memory back. Slices handed out
// become invalid; Readers made by Slice stay valid. Every later reading or writing method fails
// with ErrClosed. Close may be called again and always returns nil.
func (b *LinkBuffer) Close() error {
	b.drop()
	b.closed, b.failed = true, ErrClosed
	b.src, b.sink = nil, nil
	return nil
}

// drop makes the buffer empty.
func (b *LinkBuffer) drop() {
	b.length, b.malloced, b.inserted = 0, 0, 0
	b.freeAll()
}

// checkSize returns an error if no method can take n as a length, or after Close.
func (b *LinkBuffer) checkSize(op string, n int) error {
	if b.closed {
		return ErrClosed
	}
	if n < 0 || n > MaxBytes {
		return &SizeError{Op: op, N: n, Max: MaxBytes}
	}
	return nil
}
