package apache

import (
	"encoding/binary"

	"github.com/apache/thrift/lib/go/thrift"
)

// source is the part of a buffer.Reader that an input needs.
type source interface {
	Peek(n int) ([]byte, error)
	Skip(n int) error
	ReadBinary(n int) ([]byte, error)
	Release() error
	Len() int
}

// frameSource can return a frame in memory of its own (buffer.FrameReader).
type frameSource interface {
	ReadFrame(n int) ([]byte, error)
}

// streamWindow is how much of a stream is read in one piece.
const streamWindow = 32 << 10

// The first frameStart bytes of a frame above smallFrame must have arrived before memory is taken
// for it.
const (
	smallFrame = 64 << 10
	frameStart = 4 << 10
)

// input is a window onto the bytes that can be read: the rest of the current frame, which no other
// code refers to, or a part of a stream's buffer. Its fast path is a comparison and a slice.
type input struct {
	src    source      // nil: buf is all there is
	frames frameSource // src, if it has that capability
	framed bool
	limits limits

	buf   []byte // buf[off:] can be read
	off   int
	owned bool // buf is a frame in memory of its own, not the source's

	maxDepth  int    // structs inside one another
	inMessage bool   // between begin and end of a message
	depth     int    // structs that have begun and not ended
	budget    int    // of a stream: bytes after buf that the message may have
	arena     []byte // room for short strings of a large frame
}

// reset drops the state and makes src the source of the bytes.
func (in *input) reset(src source) {
	in.src, in.buf, in.off, in.owned = src, nil, 0, false
	in.inMessage, in.depth, in.arena, in.maxDepth = false, 0, nil, maxDepth
	in.frames, _ = src.(frameSource)
}

// setFrame makes b the only bytes to read. The values read from it own it.
func (in *input) setFrame(b []byte) {
	in.reset(nil)
	in.frames, in.framed = nil, true
	in.buf, in.owned = b, true
}

func (in *input) rest() int { return len(in.buf) - in.off }

// remaining returns how many bytes the frame still has, in the form of thrift.ReadSizeProvider.
func (in *input) remaining() uint64 {
	if !in.framed {
		return thrift.UnknownRemainingBytes
	}
	return uint64(in.rest())
}

// begin prepares for a message: it takes the next frame.
func (in *input) begin() error {
	if in.inMessage && in.rest() > 0 && in.framed {
		return invalidData("the message before was not read to its end")
	}
	in.depth, in.arena = 0, nil
	in.inMessage = true
	if !in.framed {
		in.budget = in.limits.message - in.rest()
		return nil
	}
	if in.src == nil || in.rest() > 0 {
		return nil
	}
	return in.load()
}

// end releases what a message had. It returns an error if the message's frame goes on.
func (in *input) end() error {
	if in.framed {
		return in.checkEnd()
	}
	in.inMessage = false
	return in.consume()
}

// checkEnd returns an error if bytes of the frame belong to no value.
func (in *input) checkEnd() error {
	if rest := in.rest(); in.framed && in.src != nil && rest > 0 {
		return invalidData("%d bytes behind the message in its frame", rest)
	}
	in.inMessage = false
	return nil
}

// load takes the whole next frame.
func (in *input) load() error {
	head, err := in.src.Peek(4)
	if err != nil {
		return transportFailure(err)
	}
	size := binary.BigEndian.Uint32(head)
	switch {
	case size > uint32(in.limits.frame):
		return sizeLimit("frame of %d bytes, at most %d", size, in.limits.frame)
	case size == 0:
		return invalidData("empty frame")
	}
	if err := in.src.Skip(len(head)); err != nil {
		return transportFailure(err)
	}
	if size > smallFrame && in.src.Len() < frameStart {
		if _, err := in.src.Peek(frameStart); err != nil {
			return transportFailure(err)
		}
	}
	in.off = 0
	if in.buf, err = in.readOwned(int(size)); err != nil {
		in.buf = nil
		return transportFailure(err)
	}
	in.owned = true
	return transportFailure(in.src.Release())
}

// readOwned takes n bytes of the source in memory of their own.
func (in *input) readOwned(n int) ([]byte, error) {
	if in.frames != nil {
		return in.frames.ReadFrame(n)
	}
	return in.src.ReadBinary(n)
}

// next returns the next n bytes, n >= 0. The returned slice is valid until the next call of a
// method that reads; in an owned frame it stays valid.
func (in *input) next(n int) ([]byte, error) {
	if n > len(in.buf)-in.off {
		if err := in.more(n); err != nil {
			return nil, err
		}
	}
	at := in.off
	in.off += n
	return in.buf[at:in.off:in.off], nil
}

// more moves the window so that n bytes can be read.
func (in *input) more(n int) error {
	if in.framed || in.src == nil {
		return truncated()
	}
	missing := n - in.rest()
	if in.inMessage && missing > in.budget {
		return sizeLimit("message of more than %d bytes", in.limits.message)
	}
	before := in.rest()
	if err := in.consume(); err != nil {
		return err
	}
	want := max(n, min(in.src.Len(), streamWindow))
	if in.inMessage {
		want = min(want, in.budget+before)
	}
	buf, err := in.src.Peek(want)
	if err != nil {
		return transportFailure(err)
	}
	in.buf = buf
	in.budget -= len(buf) - before
	return nil
}

// consume gives the read part of a stream's window back to the source.
func (in *input) consume() error {
	if in.src == nil || in.framed {
		return nil
	}
	off := in.off
	in.buf, in.off = nil, 0
	if off == 0 {
		return nil
	}
	if err := in.src.Skip(off); err != nil {
		return transportFailure(err)
	}
	return transportFailure(in.src.Release())
}

// readByte returns the next byte.
func (in *input) readByte() (byte, error) {
	if in.off < len(in.buf) {
		b := in.buf[in.off]
		in.off++
		return b, nil
	}
	p, err := in.next(1)
	if err != nil {
		return 0, err
	}
	return p[0], nil
}

// checkLength checks the length of a string against the limits and the bytes left.
func (in *input) checkLength(n int) error {
	switch {
	case n < 0:
		return negativeSize(n)
	case n > in.limits.message:
		return sizeLimit("string of %d bytes, at most %d", n, in.limits.message)
	case (in.framed || in.src == nil) && n > in.rest():
		return sizeLimit("string of %d bytes where %d are left", n, in.rest())
	case in.inMessage && !in.framed && in.src != nil && n-in.rest() > in.budget:
		return sizeLimit("message of more than %d bytes", in.limits.message)
	}
	return nil
}

// checkCount checks the number of a container's elements, each of at least size bytes, against the
// limits and the bytes left. If the bytes left are not known, it waits for the bytes that a count
// above trustedCount announces.
func (in *input) checkCount(n, size int) error {
	switch {
	case n < 0:
		return negativeSize(n)
	case n > in.limits.container:
		return sizeLimit("container of %d elements, at most %d", n, in.limits.container)
	}
	least := int64(n) * int64(size)
	switch {
	case in.framed || in.src == nil:
		if least > int64(in.rest()) {
			return sizeLimit("container of %d elements where %d bytes are left", n, in.rest())
		}
	case in.inMessage && least > int64(in.rest())+int64(in.budget), least > int64(in.limits.message):
		return sizeLimit("message of more than %d bytes", in.limits.message)
	case n > trustedCount && least > int64(in.rest()):
		return in.more(int(least))
	}
	return nil
}

// beginStruct counts the beginning of a struct, because generated code may not count.
func (in *input) beginStruct() error {
	if in.depth++; in.depth > in.maxDepth {
		return tooDeep()
	}
	return nil
}

// endStruct counts the end of a struct. Where a message's only value ends, its frame must end too:
// generated code checks this error, but not that of ReadMessageEnd.
func (in *input) endStruct() error {
	if in.depth == 0 {
		return invalidData("end of a struct that has not begun")
	}
	if in.depth--; in.depth == 0 && in.inMessage && in.framed {
		if rest := in.rest(); rest > 0 && in.src != nil {
			return invalidData("%d bytes behind the message in its frame", rest)
		}
	}
	return nil
}

// skipLength skips a string of n bytes. n was checked.
func (in *input) skipLength(n int) error {
	for {
		step := min(n, max(in.rest(), streamWindow))
		if _, err := in.next(step); err != nil {
			return err
		}
		if n -= step; n == 0 {
			return nil
		}
	}
}
