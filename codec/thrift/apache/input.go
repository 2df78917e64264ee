package apache

import (
	"encoding/binary"

	"github.com/apache/thrift/lib/go/thrift"
)

// source is the part of a buffer.Reader that an input takes its bytes from.
type source interface {
	Peek(n int) ([]byte, error)
	Skip(n int) error
	ReadBinary(n int) ([]byte, error)
	Release() error
	Len() int
}

// frameSource is the capability to give a frame as memory of one's own (buffer.FrameReader).
type frameSource interface {
	ReadFrame(n int) ([]byte, error)
}

// streamWindow is how much of a stream is looked at in one piece.
const streamWindow = 32 << 10

// Of a frame above smallFrame its first frameStart bytes have to be there before memory is taken
// for it.
const (
	smallFrame = 64 << 10
	frameStart = 4 << 10
)

// input is a window onto the bytes that can be read: the rest of the current frame, which nobody
// else refers to, or a part of a stream's buffer. Its fast path is a comparison and a slice.
type input struct {
	src    source      // nil: buf is all there is
	frames frameSource // src, if it has that capability
	framed bool
	limits limits

	buf   []byte // buf[off:] can be read
	off   int
	owned bool // buf is a frame of the message's own, and not the source's memory

	maxDepth  int    // structs inside one another
	inMessage bool   // between begin and end of a message
	depth     int    // structs that have begun and not ended
	budget    int    // of a stream: how many bytes behind buf the message may have
	arena     []byte // room for short strings of a large frame
}

// reset forgets what was read and takes bytes from src from then on.
func (in *input) reset(src source) {
	in.src, in.buf, in.off, in.owned = src, nil, 0, false
	in.inMessage, in.depth, in.arena, in.maxDepth = false, 0, nil, maxDepth
	in.frames, _ = src.(frameSource)
}

// setFrame makes b all that there is to read, to be owned by the values read from it.
func (in *input) setFrame(b []byte) {
	in.reset(nil)
	in.frames, in.framed = nil, true
	in.buf, in.owned = b, true
}

func (in *input) rest() int { return len(in.buf) - in.off }

// remaining returns how many bytes the frame still has, as thrift.ReadSizeProvider wants it.
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

// end gives back what a message had. It returns an error if its frame goes on.
func (in *input) end() error {
	if in.framed {
		return in.checkEnd()
	}
	in.inMessage = false
	return in.consume()
}

// checkEnd reports bytes of the frame that belong to no value.
func (in *input) checkEnd() error {
	if rest := in.rest(); in.framed && in.src != nil && rest > 0 {
		return invalidData("%d bytes behind the message in its frame", rest)
	}
	in.inMessage = false
	return nil
}

// load takes the next frame whole.
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

// readOwned takes n bytes of the source as memory of one's own.
func (in *input) readOwned(n int) ([]byte, error) {
	if in.frames != nil {
		return in.frames.ReadFrame(n)
	}
	return in.src.ReadBinary(n)
}

// next returns the next n bytes, n >= 0. The returned slice is valid until the next call of a
// method that reads; in an owned frame for ever.
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

// more moves the window on so that n bytes can be read.
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

// consume gives back what was read of a stream's window.
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

// checkCount checks the number of a container's elements, each of which takes at least size bytes,
// against the limits and the bytes left. Where those are not known, it waits for the bytes that a
// count above trustedCount promises.
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

// beginStruct counts a struct in, whose generated code may not count.
func (in *input) beginStruct() error {
	if in.depth++; in.depth > in.maxDepth {
		return tooDeep()
	}
	return nil
}

// endStruct counts a struct out. The end of a message's only value is where its frame has to
// end too: generated code looks at this error, and not at that of ReadMessageEnd.
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

// skipLength takes a string of n bytes without looking at it. n was checked.
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
