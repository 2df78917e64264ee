package buffer

// Reserve returns free space behind the readable bytes for a Source to read into: at least n bytes,
// or for n <= 0 a suitable number. That is the space that the reading method needs to get its bytes
// in one piece, or a size that follows the traffic: it starts at 4 KiB, doubles up to 64 KiB when a
// read fills it, and halves after eight reads in a row that used at most a quarter of it.
//
// It returns nil after Close and for n > MaxBytes, and panics while written bytes wait for Flush.
// The returned slice is valid until the next call of a method of the buffer.
func (b *LinkBuffer) Reserve(n int) []byte {
	if b.malloced > 0 {
		panic("buffer: BUG: Reserve before the written bytes were flushed")
	}
	if b.closed || n > MaxBytes {
		return nil
	}
	blk := b.reservable(n)
	b.reserved = blk.room()
	return blk.mem[blk.w:blk.limit:blk.limit]
}

// reservable returns the block to read into: the tail, or a pending one.
func (b *LinkBuffer) reservable(n int) *block {
	if blk := b.target; blk != nil && blk == b.tail && blk.room() > 0 && blk.room() >= n {
		b.dropPending()
		return blk
	}
	size := b.nextReadSize()
	least := n
	if n <= 0 {
		least = max(size/4, b.want, 1)
	}
	if b.tail != nil && b.tail.room() >= least {
		b.dropPending()
		return b.tail
	}
	if b.pending == nil || b.pending.room() < least {
		b.dropPending()
		b.pending = b.newBlock(max(size, least))
	}
	return b.pending
}

// Commit makes the first n bytes of the last Reserve readable; the rest is free again. Commit(0)
// gives back at once the space that was taken for the Reserve. Each Reserve can be committed once.
// Commit panics if n is not in 0..len of the last Reserve. After Close it does nothing.
func (b *LinkBuffer) Commit(n int) {
	if n < 0 || n > b.reserved || b.malloced > 0 {
		if b.closed && n >= 0 {
			return
		}
		panic("buffer: BUG: Commit without a Reserve of as many bytes")
	}
	if n == 0 {
		b.dropPending()
		return
	}
	b.adapt(n)
	b.reserved = 0
	if b.pending != nil {
		b.push(b.pending)
		b.pending = nil
	}
	b.tail.w += n
	b.length += n
	if b.want > 0 {
		b.target, b.want = b.tail, 0 // the rest of the wanted bytes belongs behind it
	}
}

// nextReadSize returns the space to take for the next read.
func (b *LinkBuffer) nextReadSize() int {
	if b.readSize == 0 {
		b.readSize = b.sizes().readMin
	}
	return b.readSize
}

// adapt learns from a read of n bytes, n > 0, into the reserved space.
func (b *LinkBuffer) adapt(n int) {
	size := b.nextReadSize()
	switch {
	case n == b.reserved && n >= size:
		b.readSize = min(2*size, b.sizes().readMax)
		b.smallReads = 0
	case n > size/4:
		b.smallReads = 0
	default:
		b.smallReads++
		if b.smallReads == smallReadsBeforeShrink {
			b.readSize = max(size/2, b.sizes().readMin)
			b.smallReads = 0
		}
	}
}
