package buffer

// Reader reads without copying. Its methods are those that netpoll made common in this field, so
// their number is fixed. Codecs and frame parsers call it, from the one goroutine that owns the
// reading side.
//
// A method that wants n bytes waits until n bytes are there or an error occurs; the Source behind
// the Reader decides how it waits. n == 0 succeeds at once; n < 0 or n > MaxBytes is a *SizeError.
// A method that fails takes nothing, unless it says otherwise.
type Reader interface {
	// Next returns the next n bytes as one slice and advances past them.
	// The caller may read the slice, and write to it only if the bytes were not linked by
	// reference. The returned slice is valid until the next Release, Slice or Close.
	Next(n int) ([]byte, error)

	// Peek is Next without advancing.
	// The returned slice is valid until the next Release, Slice or Close; a later Peek,
	// Next or growth of the buffer does not move it.
	Peek(n int) ([]byte, error)

	// Skip advances past the next n bytes.
	Skip(n int) error

	// Until returns the bytes up to and including the first delim and advances past them. It keeps
	// everything that comes before delim, up to MaxBytes, so it is not for a peer that may send
	// without end. If an error comes first, Until returns that error with all the bytes there are,
	// and advances past them. The returned slice is valid until the next Release, Slice or Close.
	Until(delim byte) ([]byte, error)

	// ReadString returns the next n bytes as a string with memory of its own and advances past
	// them.
	ReadString(n int) (string, error)

	// ReadBinary returns the next n bytes and advances past them. The caller owns the slice, which
	// stays valid.
	ReadBinary(n int) ([]byte, error)

	// ReadByte returns the next byte and advances past it.
	ReadByte() (byte, error)

	// Slice returns a Reader over the next n bytes without copying them, advances past them and
	// then releases this Reader as Release does. The new Reader may be used on another goroutine,
	// even after this one moved on or was closed. Its user must Close it (it is an io.Closer), or
	// read it to its end and call Release. Otherwise its memory goes to the garbage collector
	// instead of the pool.
	Slice(n int) (Reader, error)

	// Release gives back the memory of everything read so far: all slices returned by Next,
	// Peek and Until become invalid. It always returns nil.
	Release() error

	// Len returns the number of bytes that can be read without waiting.
	Len() int
}

// Writer writes without copying. Its methods are those that netpoll made common in this field, so
// their number is fixed. Codecs call it, from the one goroutine that owns the writing side.
//
// Bytes are first written, then submitted by Flush. Until then nothing written moves in memory, so
// a length field may be filled in later.
type Writer interface {
	// Malloc appends n bytes and returns them to be filled in. Their content is undefined.
	// n == 0 returns an empty slice; n < 0 or n > MaxBytes is a *SizeError.
	// The returned slice is valid until the next Flush, or a MallocAck that drops it.
	Malloc(n int) ([]byte, error)

	// MallocAck keeps the first n of the bytes written since the last Flush (see MallocLen)
	// and drops the rest. n outside of 0..MallocLen is a *SizeError.
	MallocAck(n int) error

	// MallocLen returns the number of bytes written since the last Flush, inserted and
	// linked ones included.
	MallocLen() int

	// WriteString appends s. Short values are copied, long ones are kept by reference.
	// It returns len(s) and nil, or 0 and the error.
	WriteString(s string) (int, error)

	// WriteBinary appends p. Short values are copied. Long ones are kept by reference: p must not
	// change until Flush has returned, or, without a Sink, until its bytes were read and released.
	// It returns len(p) and nil, or 0 and the error.
	WriteBinary(p []byte) (int, error)

	// WriteByte appends c.
	WriteByte(c byte) error

	// WriteDirect inserts p by reference, in front of the last remainCap bytes written since the
	// last Flush (bytes inserted by WriteDirect itself are not counted in remainCap). Among
	// insertions at one place the later call comes later in the stream. p must not change as long
	// as one of WriteBinary must not. remainCap below 0, or above the number of such bytes, is a
	// *SizeError.
	WriteDirect(p []byte, remainCap int) error

	// Append moves all bytes of w to the end of this writer without copying and leaves w empty. For
	// a w of another implementation the error is an *AppendError.
	Append(w Writer) error

	// Flush submits everything written.
	Flush() error
}

// FrameReader takes a frame out of a Reader as memory that the caller owns. A codec that builds
// strings and byte slices pointing into the frame looks for it.
type FrameReader interface {
	// ReadFrame returns the next n bytes as one slice and advances past them. The slice has length
	// and capacity n and belongs to the caller. It is never pooled (the garbage collector frees
	// it), and the reader does not touch it afterwards.
	ReadFrame(n int) ([]byte, error)
}

// Linker appends memory by reference, whatever its size.
type Linker interface {
	// Link appends p without copying, in constant time. p must not change until Flush
	// returned; without a Sink, until its bytes were read and released.
	Link(p []byte) error
}

// Source is where the bytes come from. A connection implements it.
type Source interface {
	// Fill appends bytes through b.Reserve and b.Commit and calls no other method that changes b. A
	// reading method that wants more than Len bytes calls it, on the goroutine that reads. It
	// returns nil once b.Len() >= need, otherwise the error that prevents this; bytes already
	// appended stay readable. If it returns an error although enough bytes are there, the reading
	// method succeeds, and the next Fill must return the error again.
	Fill(b *LinkBuffer, need int) error
}

// Sink is where the bytes go. A connection implements it.
type Sink interface {
	// Drain takes all readable bytes through b.Gather (or b.First) and b.Discard. Flush calls it,
	// on the goroutine that writes, if there is anything to write. It returns nil when b.Len() is
	// 0, otherwise the error that prevents this.
	Drain(b *LinkBuffer) error
}
