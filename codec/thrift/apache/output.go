package apache

import (
	"encoding/binary"

	"github.com/kiteline/kiteline/transport/buffer"
)

const (
	// firstChunk and largestChunk are the least and the most room taken from the writer at once.
	firstChunk   = 1 << 10
	largestChunk = 16 << 10

	// linkedSize is the length from which a string is handed to the writer by reference instead of
	// being copied.
	linkedSize = 4 << 10

	frameHead = 4 // bytes of a frame's length
)

// room is the part of a buffer.Writer, or of a Kitex call's buffer, that an output writes to.
type room interface {
	Malloc(n int) ([]byte, error)
	MallocLen() int
	MallocAck(n int) error
	Link(p []byte) error
}

// linker makes room of a Writer that cannot link.
type linker struct{ buffer.Writer }

// Link appends p in the way that the Writer prefers.
func (l linker) Link(p []byte) error {
	_, err := l.WriteBinary(p)
	return err
}

// roomOf returns w as room.
func roomOf(w buffer.Writer) room {
	if r, ok := w.(room); ok {
		return r
	}
	return linker{w}
}

// output is where values are written: room taken from a writer in chunks. Its fast path is a
// comparison and a slice.
type output struct {
	w      room
	framed bool
	limits limits

	chunk []byte // chunk[used:] is room; settle gives back what is left of it
	used  int
	size  int // of the next chunk

	started bool   // something was written since the last flush
	head    []byte // the frame's length, filled in by flush
	base    int    // bytes that were in w when the frame began
}

// reset drops the state and makes w the writer.
func (o *output) reset(w room) {
	o.w, o.chunk, o.used, o.size, o.started, o.head = w, nil, 0, firstChunk, false, nil
}

// space returns room for n more bytes, n <= linkedSize. It is valid until the next call.
func (o *output) space(n int) ([]byte, error) {
	if n > len(o.chunk)-o.used {
		if err := o.grow(n); err != nil {
			return nil, err
		}
	}
	at := o.used
	o.used += n
	return o.chunk[at:o.used:o.used], nil
}

// grow takes the next chunk, with room for n bytes.
func (o *output) grow(n int) error {
	if err := o.start(); err != nil {
		return err
	}
	if n <= len(o.chunk)-o.used {
		return nil
	}
	if err := o.settle(); err != nil {
		return err
	}
	chunk, err := o.w.Malloc(max(n, o.size))
	if err != nil {
		return transportFailure(err)
	}
	o.chunk, o.used = chunk, 0
	o.size = min(2*o.size, largestChunk)
	return nil
}

// start begins a frame if none has begun.
func (o *output) start() error {
	if o.started {
		return nil
	}
	o.base = o.w.MallocLen()
	chunk, err := o.w.Malloc(o.size)
	if err != nil {
		return transportFailure(err)
	}
	o.started = true
	o.chunk, o.used = chunk, 0
	o.size = min(2*o.size, largestChunk)
	if o.framed {
		o.head = chunk[:frameHead]
		o.used = frameHead
	}
	return nil
}

// settle gives back the rest of the chunk.
func (o *output) settle() error {
	unused := len(o.chunk) - o.used
	o.chunk, o.used = nil, 0
	if unused == 0 {
		return nil
	}
	return transportFailure(o.w.MallocAck(o.w.MallocLen() - unused))
}

func (o *output) writeByte(b byte) error {
	p, err := o.space(1)
	if err != nil {
		return err
	}
	p[0] = b
	return nil
}

// writeString appends s, by reference if it is long.
func (o *output) writeString(s string) error {
	if len(s) < linkedSize {
		p, err := o.space(len(s))
		copy(p, s)
		return err
	}
	return o.link(bytesOf(s))
}

// writeBytes appends b, by reference if it is long, so b must not change before flush.
func (o *output) writeBytes(b []byte) error {
	if len(b) < linkedSize {
		return o.copyBytes(b)
	}
	return o.link(b)
}

func (o *output) link(b []byte) error {
	if err := o.start(); err != nil {
		return err
	}
	if err := o.settle(); err != nil {
		return err
	}
	return transportFailure(o.w.Link(b))
}

// copyBytes appends a copy of b.
func (o *output) copyBytes(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), linkedSize)
		p, err := o.space(n)
		if err != nil {
			return err
		}
		copy(p, b)
		b = b[n:]
	}
	return nil
}

// finish ends the frame. A frame above the limit is dropped.
func (o *output) finish() error {
	err := o.settle()
	head := o.head
	o.started, o.head, o.size = false, nil, firstChunk
	if err != nil || !o.framed {
		return err
	}
	size := o.w.MallocLen() - o.base - frameHead
	if size > o.limits.frame {
		_ = o.w.MallocAck(o.base) // it was there when the frame began
		return sizeLimit("frame of %d bytes, at most %d", size, o.limits.frame)
	}
	binary.BigEndian.PutUint32(head, uint32(size))
	return nil
}
