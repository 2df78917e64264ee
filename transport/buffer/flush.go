package buffer

import "io"

// Flush implements Writer: the written bytes become readable, and if there is a Sink it is
// told to take all readable bytes. When it returns nil with a Sink, no memory of the caller
// is referred to any more and the buffer holds none.
//
// If the Sink fails, what is left is dropped and Flush returns the Sink's error, as does
// every later writing method: the peer has got a part of a message, so nothing can follow.
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
		err = io.ErrShortWrite // a Sink must not do that, see there
	}
	b.drop()
	b.failed = err
	return err
}

// Gather appends the readable bytes to dst as at most limit slices, in order and without
// copying, and returns it. Bytes beyond that are left out.
// The slices are valid until they are discarded or the next reading method.
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

// First returns the readable bytes up to the first place where they are not contiguous,
// nil if there are none.
// The slice is valid until its bytes are discarded or the next reading method.
func (b *LinkBuffer) First() []byte {
	if b.length == 0 {
		return nil
	}
	b.skipEmpty()
	blk := b.read
	end := blk.r + min(b.length, blk.size())
	return blk.mem[blk.r:end:end]
}

// Discard drops the next n bytes, 0 <= n <= Len, for instance because they were written
// to a socket, and gives the memory of blocks without bytes back at once. Unlike after
// Skip no Release is needed, unless slices of earlier reads wait for one.
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
