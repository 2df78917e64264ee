package mux

import (
	"sync"

	"github.com/kiteline/kiteline/transport/buffer"
)

// bufferPool holds empty buffers for frames.
var bufferPool = sync.Pool{New: func() any { return new(buffer.LinkBuffer) }}

// takeBuffer returns an empty buffer without a Source or a Sink. It goes to output.send
// or to dropBuffer.
func takeBuffer() *buffer.LinkBuffer { return bufferPool.Get().(*buffer.LinkBuffer) }

// dropBuffer gives a buffer from takeBuffer back, with whatever is in it.
func dropBuffer(b *buffer.LinkBuffer) {
	_ = b.Flush() // it has no Sink
	b.Discard(b.Len())
	_ = b.Release() // always nil
	bufferPool.Put(b)
}

// copyOf returns a buffer with what is in b, in memory of its own and readable, and drops b.
func copyOf(b *buffer.LinkBuffer) *buffer.LinkBuffer {
	_ = b.Flush() // it has no Sink
	own := takeBuffer()
	for b.Len() > 0 {
		p := b.First()
		space, err := own.Malloc(len(p))
		if err != nil {
			panic("mux: BUG: no room for bytes that are there: " + err.Error())
		}
		b.Discard(copy(space, p))
	}
	_ = own.Flush() // as above
	dropBuffer(b)
	return own
}
