package buffer

// WriteDirect implements Writer.
//
// Codecs insert from front to back, so the place of the last insertion is remembered, and the next
// search starts there: together the searches look at each block about once. For an insertion before
// the last one the search starts at the first byte not flushed.
func (b *LinkBuffer) WriteDirect(p []byte, remainCap int) error {
	if err := b.canWrite("WriteDirect", len(p)); err != nil {
		return err
	}
	plain := b.malloced - b.inserted
	if remainCap < 0 || remainCap > plain {
		return &SizeError{Op: "WriteDirect", N: remainCap, Max: plain}
	}
	if len(p) == 0 {
		return nil
	}
	pos := plain - remainCap
	prev := b.seek(pos)
	if prev == b.tail && prev != nil && prev.room() > 0 {
		b.spare = prev
	}
	blk := b.foreign(p, len(p))
	blk.inserted = true
	if prev == nil {
		b.push(blk)
	} else {
		b.insertAfter(prev, blk)
	}
	b.malloced += len(p)
	b.inserted += len(p)
	b.cursor, b.cursorPos = blk, pos
	return nil
}

// seek returns the block behind which to insert another one. Before that place are pos bytes that
// are neither flushed nor inserted, and all blocks inserted there earlier. seek cuts a block in two
// where needed. It returns nil if the chain is empty.
func (b *LinkBuffer) seek(pos int) *block {
	if b.cursor != nil && pos >= b.cursorPos {
		return b.seekFrom(b.cursor, b.cursor.next, 0, pos-b.cursorPos)
	}
	var prev *block
	blk, flushed := b.read, b.length
	for blk != nil && flushed >= blk.size() {
		b.countSeek()
		flushed -= blk.size()
		prev, blk = blk, blk.next
	}
	return b.seekFrom(prev, blk, flushed, pos)
}

// seekFrom is seek, starting at blk, which follows prev; the first skip bytes of blk do
// not count. prev is nil if blk is the first block with bytes.
func (b *LinkBuffer) seekFrom(prev, blk *block, skip, pos int) *block {
	for ; blk != nil; prev, blk = blk, blk.next {
		b.countSeek()
		if blk.inserted {
			continue
		}
		size := blk.size() - skip
		if pos < size {
			at := blk.r + skip + pos
			if at == blk.r && prev != nil {
				return prev
			}
			b.insertAfter(blk, b.fork(blk, at))
			return blk
		}
		pos -= size
		skip = 0
	}
	return prev
}
