package buffer

import "github.com/bytedance/gopkg/lang/dirtmake"

// AwaitFrame waits until at least min(some, n) bytes are readable, where the next n bytes are one
// frame. With some <= Len it does not wait. The caller must then take the frame with ReadFrame or
// Skip it. n outside of 0..MaxBytes is a *SizeError. After an error the bytes that have come stay,
// and AwaitFrame may be called again.
//
// Once TrustsFrame(n) is true, AwaitFrame takes memory for the whole frame, and the Source reads
// the rest of the frame into it, even after AwaitFrame has returned. ReadFrame returns that memory
// instead of a copy, also from a buffer that got all of the frame by Slice and Append.
func (b *LinkBuffer) AwaitFrame(n, some int) error {
	if err := b.checkSize("AwaitFrame", n); err != nil {
		return err
	}
	b.aim(n)
	for some = min(some, n); b.length < some; {
		if err := b.canFill(some); err != nil {
			return err
		}
		err := b.fill(min(some, b.frameStep(n)))
		if err == nil || b.length > 0 {
			b.aim(n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TrustsFrame reports whether memory for a whole frame of n bytes may be taken now: n is at most
// about 1 MiB, or a third of the frame is readable, or all of it except 1 MiB.
func (b *LinkBuffer) TrustsFrame(n int) bool { return b.frameStep(n) == n }

// aim makes what comes next of an incomplete frame of n bytes arrive in the frame's own memory.
func (b *LinkBuffer) aim(n int) {
	if !b.closed && b.malloced == 0 && b.length < n && b.TrustsFrame(n) {
		b.target = b.frameBlock(n)
	}
}

// fillFrame returns the next n bytes in memory that only the caller refers to. n > length. The
// Source reads straight into that memory, which is the chain's tail meanwhile.
func (b *LinkBuffer) fillFrame(n int) ([]byte, error) {
	if err := b.canFill(n); err != nil {
		return nil, err
	}
	if err := b.AwaitFrame(n, n); err != nil {
		b.dropEmptyFrame()
		return nil, err
	}
	return b.takeOwned(n), nil
}

// takeOwned takes the next n bytes, n <= length, in memory that only the caller refers to: the
// frame's own, or a copy. It copies if the last bytes are in another block, because the Source
// reserved more room than there was, or if n is so small that most of the frame's memory would be
// kept in vain.
func (b *LinkBuffer) takeOwned(n int) []byte {
	b.skipEmpty()
	if blk := b.read; blk != nil && blk.collected && n <= blk.size() && n > len(blk.mem)/2 {
		p := blk.mem[blk.r : blk.r+n : blk.r+n]
		blk.r += n
		b.length -= n
		return p
	}
	p := dirtmake.Bytes(n, n)
	b.copyOut(p)
	return p
}

// frameStep returns how many of n bytes must arrive before memory is taken for all of them, or n if
// enough have. What comes until then stays in blocks of the usual sizes, and is copied into that
// memory once.
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

// frameBlock returns the tail, which holds all readable bytes from offset 0 on in size bytes of
// collected memory. It is the block of an earlier, interrupted call, or a new one.
func (b *LinkBuffer) frameBlock(size int) *block {
	if b.length > 0 {
		b.skipEmpty()
		if blk := b.read; blk == b.tail && blk.collected && blk.r == 0 && blk.limit == size {
			return blk
		}
	}
	mem := dirtmake.Bytes(size, size)
	blk := b.foreign(mem, 0)
	blk.collected = true
	b.countGrown(blk)
	if b.length == 0 {
		b.push(blk)
		b.skipEmpty()
		return blk
	}
	b.rejoin(blk, nil, b.length)
	return blk
}

// dropEmptyFrame releases the memory of a frame of which no byte has arrived.
func (b *LinkBuffer) dropEmptyFrame() {
	if blk := b.tail; b.length == 0 && blk != nil && blk.collected {
		blk.mem, blk.r, blk.w, blk.limit = nil, 0, 0, 0
	}
}
