package buffer

import "github.com/bytedance/gopkg/lang/dirtmake"

// fillFrame returns the next n bytes in memory that only the caller refers to. n > length.
// The Source reads straight into that memory, which is the tail of the chain meanwhile.
func (b *LinkBuffer) fillFrame(n int) ([]byte, error) {
	if err := b.canFill(n); err != nil {
		return nil, err
	}
	for b.length < n {
		step := b.frameStep(n)
		if step == n {
			b.target = b.frameBlock(n)
		}
		if err := b.fill(step); err != nil {
			b.dropEmptyFrame()
			return nil, err
		}
	}
	b.skipEmpty()
	if blk := b.read; blk.kind == kindForeign && blk.r == 0 && blk.w == n && len(blk.mem) == n {
		b.length -= n
		return detach(blk), nil
	}
	// The Source reserved more room than there was, so the last bytes are in another block.
	p := dirtmake.Bytes(n, n)
	b.copyOut(p)
	return p, nil
}

// frameStep returns how many of n bytes must arrive before memory is taken for all of them: n if enough
// have. What comes until then stays in blocks of the usual sizes, and is copied once, into that memory.
func (b *LinkBuffer) frameStep(n int) int {
	trust := b.sizes().trustMax
	if n <= trust+trust/8 { // 1 MiB with a header is not worth a copy
		return n
	}
	if step := min(n-trust, (n+2)/3); step > b.length {
		return step
	}
	return n
}

// frameBlock returns the tail, which holds all readable bytes from offset 0 on in size
// bytes of collected memory: the one of an earlier, interrupted call or a new one.
func (b *LinkBuffer) frameBlock(size int) *block {
	if b.length > 0 {
		b.skipEmpty()
		if blk := b.read; blk == b.tail && blk.kind == kindForeign && blk.r == 0 && blk.limit == size {
			return blk
		}
	}
	mem := dirtmake.Bytes(size, size)
	blk := b.foreign(mem, 0)
	b.countGrown(blk)
	if b.length == 0 {
		b.push(blk)
		b.skipEmpty()
		return blk
	}
	b.rejoin(blk, nil, b.length)
	return blk
}

// dropEmptyFrame lets go of the memory of a frame of which no byte arrived.
func (b *LinkBuffer) dropEmptyFrame() {
	if b.length == 0 && b.tail != nil && b.tail.kind == kindForeign {
		detach(b.tail)
	}
}

// detach takes the memory out of a block of collected memory, all of which was read. The
// block stays in the chain, without bytes and room.
func detach(blk *block) []byte {
	mem := blk.mem
	blk.mem, blk.r, blk.w, blk.limit = nil, 0, 0, 0
	return mem
}
