package buffer

import "io"

// Flush implements Writer: the written bytes become readable, and a Sink, if there is one, takes
// all readable bytes. When Flush to a Sink has returned nil, the buffer no longer refers to the
// caller's memory and holds no memory itself.
//
// If the Sink fails, Flush drops what is left and returns the Sink's error, as does every later
// writing method: the peer has received part of a message, so nothing can follow.
func (b *LinkBuffer) Flush() error {
	if b.failed != nil {
		return b.failed
	}
	b.length += b.malloced
	b.malloced, b.inserted = 0, 0
	b.cursor, b.spare = nil, nil
	if b.sink == nil {
		return nil
	}
	return b.drain()
}

func (b *LinkBuffer) drain() error {
	if b.length == 0 {
		b.freeAll()
		return nil
	}
	err := b.sink.Drain(b)
	switch {
	case b.closed:
		return ErrClosed
	case err == nil && b.length == 0:
		b.freeAll()
		return nil
	case err == nil:
		err = io.ErrShortWrite // a Sink must not do that, see Sink
	}
	b.drop()
	b.failed = err
	return err
}

// Gather appends the readable bytes to dst as at most limit slices, in order and without copying,
// and returns dst. If limit is too small, the last bytes are left out. The slices are valid until
// their bytes are discarded or the next reading method.
func (b *LinkBuffer) Gather(dst [][]byte, limit int) [][]byte {
	left := b.length
	for blk := b.read; left > 0 && limit > 0; blk = blk.next {
		k := min(left, blk.size())
		if k == 0 {
			continue
		}
		dst = append(dst, blk.mem[blk.r:blk.r+k:blk.r+k])
		left -= k
		limit--
	}
	return dst
}

// First returns the readable bytes up to the first gap in memory, nil if there are none. The slice
// is valid until its bytes are discarded or the next reading method.
func (b *LinkBuffer) First() []byte {
	if b.length == 0 {
		return nil
	}
	b.skipEmpty()
	blk := b.read
	end := blk.r + min(b.length, blk.size())
	return blk.mem[blk.r:end:end]
}

// Discard drops the next n bytes, for instance because they were written to a socket, and gives the
// memory of empty blocks back at once. It panics if n is not in 0..Len. Unlike Skip it needs no
// Release, unless slices of earlier reads wait for one.
func (b *LinkBuffer) Discard(n int) {
	if n < 0 || n > b.length {
		panic("buffer: BUG: Discard of more bytes than there are")
	}
	keep := b.head != b.read
	b.advance(n)
	if keep {
		return
	}
	if b.length+b.malloced == 0 {
		b.freeAll()
		return
	}
	b.skipEmpty()
	b.freeRead()
}
