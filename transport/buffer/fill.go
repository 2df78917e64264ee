package buffer

import "io"

// This file asks the Source for bytes. The memory taken for them is at most trustMax, or twice the
// size of what has arrived.

// await returns nil once n bytes are readable, wherever they are.
func (b *LinkBuffer) await(op string, n int) error {
	if err := b.checkSize(op, n); err != nil || n <= b.length {
		return err
	}
	if err := b.canFill(n); err != nil {
		return err
	}
	return b.fill(n)
}

// canFill returns why the Source cannot be asked for n bytes.
func (b *LinkBuffer) canFill(n int) error {
	switch {
	case b.src == nil:
		return &ShortError{Need: n, Have: b.length}
	case b.malloced > 0:
		return ErrUnflushed
	}
	return nil
}

// fill asks the Source once.
func (b *LinkBuffer) fill(n int) error {
	err := b.src.Fill(b, n)
	b.target, b.want = nil, 0
	switch {
	case b.closed:
		return ErrClosed
	case b.length >= n:
		return nil
	case err == nil:
		return io.ErrNoProgress // a Source must not do that, see Source
	}
	return err
}

// step returns up to how many of n bytes may be asked for now. Above trustMax that is a power of
// two, more than what has arrived and at most twice as much.
func (b *LinkBuffer) step(n int) int {
	return min(n, doubled(max(b.sizes().trustMax, b.length+1)))
}

// fillTogether returns nil once n bytes are readable, and makes them arrive in one block. n >
// length.
func (b *LinkBuffer) fillTogether(n int) error {
	if err := b.canFill(n); err != nil {
		return err
	}
	var unseen *block // read block whose memory was first filled here
	for b.length < n {
		step := b.step(n)
		if b.length == 0 {
			before := b.tail
			b.want = step
			if err := b.fill(step); err != nil {
				return err
			}
			if b.skipEmpty(); b.read != before {
				unseen = b.read
			}
			continue
		}
		if b.skipEmpty(); b.read != b.tail || b.read.limit-b.read.r < step {
			blk := b.newBlock(doubled(max(step, b.nextReadSize())))
			b.countGrown(blk)
			blk.grown = true
			b.rejoin(blk, unseen, b.length)
			unseen = blk
		}
		b.target = b.tail
		if err := b.fill(step); err != nil {
			return err
		}
	}
	return nil
}
