package frame

import (
	"sync"

	"github.com/kiteline/kiteline/transport/buffer"
)

// Memory of frames.
const (
	// CopyBytes is the length up to which a frame is copied out of the connection's buffer, of
	// which it would keep a whole block. A longer frame keeps the blocks it came in.
	CopyBytes = 16 << 10

	// MinMemory is what a short frame takes besides its bytes: the least memory of a buffer.
	MinMemory = 4 << 10
)

// Weight is how many bytes a request of n bytes counts for among the bytes that a server holds.
func Weight(n int) int { return n + MinMemory }

// bufferPool holds empty buffers for frames.
var bufferPool = sync.Pool{New: func() any { return new(buffer.LinkBuffer) }}

// Take returns an empty buffer without a Source or a Sink. Its last owner must give it to Drop.
func Take() *buffer.LinkBuffer { return bufferPool.Get().(*buffer.LinkBuffer) }

// Drop gives back a buffer from Take, with whatever is in it.
func Drop(b *buffer.LinkBuffer) {
	_ = b.Flush() // it has no Sink
	b.Discard(b.Len())
	_ = b.Release() // always nil
	bufferPool.Put(b)
}

// CopyOf returns a buffer with the contents of b, in memory of its own and readable, and drops b.
func CopyOf(b *buffer.LinkBuffer) *buffer.LinkBuffer {
	_ = b.Flush() // it has no Sink
	own := Take()
	for b.Len() > 0 {
		p := b.First()
		space, err := own.Malloc(len(p))
		if err != nil {
			panic("frame: BUG: no room for bytes that are there: " + err.Error())
		}
		b.Discard(copy(space, p))
	}
	_ = own.Flush() // as above
	Drop(b)
	return own
}

// gatherer is the part of a connection's Reader for frames that come in many reads.
type gatherer interface {
	AwaitFrame(n, some int) error
	TrustsFrame(n int) bool
}

var _ gatherer = (*buffer.LinkBuffer)(nil)

// Await waits until some bytes of the frame of n bytes in front of in are there, for Read or Skip
// to take. It reads a long frame into memory that a codec can take over; see
// buffer.LinkBuffer.AwaitFrame.
func Await(in buffer.Reader, n, some int) error {
	if n <= CopyBytes {
		_, err := in.Peek(some)
		return err
	}
	return in.(gatherer).AwaitFrame(n, some) //nolint:errcheck // connections have no others
}

// gatherBytes is how much of a frame, or an eighth of a shorter one, must have come before Gather
// takes memory for all of it: sending a length alone costs the peer nothing.
const gatherBytes = 64 << 10

// Gather is Await without a wait, once enough of the frame has come.
func Gather(in buffer.Reader, n, came int) {
	if isGathered(in, n, came) {
		_ = Await(in, n, 0) // it fails on a closed connection, as reading will
	}
}

// isGathered reports whether Gather has taken memory for all of a frame of n bytes, of which came
// have come.
func isGathered(in buffer.Reader, n, came int) bool {
	return n > CopyBytes && came >= min(gatherBytes, n/8) && in.(gatherer).TrustsFrame(n) //nolint:errcheck // as above
}

// HeldBytes returns how much memory a frame of n bytes, of which came have come, takes after
// Gather.
func HeldBytes(in buffer.Reader, n, came int) int {
	if isGathered(in, n, came) {
		return n
	}
	return min(n, came)
}

// Read takes the frame of n bytes in front of in, into a buffer from Take. If not all of it has
// come, it waits or fails as in does, and takes nothing if it fails.
func Read(in buffer.Reader, n int) (*buffer.LinkBuffer, error) {
	if n > CopyBytes {
		part, err := in.Slice(n)
		if err != nil {
			return nil, err
		}
		whole := Take()
		if err := whole.Append(part.(*buffer.LinkBuffer)); err != nil { //nolint:errcheck // Slice says that it is one
			Drop(whole)
			return nil, err
		}
		return whole, whole.Flush()
	}
	p, err := in.Next(n)
	if err != nil {
		return nil, err
	}
	whole := Take()
	space, err := whole.Malloc(n)
	if err != nil {
		Drop(whole)
		return nil, err
	}
	copy(space, p)
	return whole, whole.Flush()
}
