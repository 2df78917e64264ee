package buffer

import (
	"bytes"
)

// Next implements Reader.
func (b *LinkBuffer) Next(n int) ([]byte, error) {
	blk := b.read
	if n <= 0 || n > b.length || n > blk.w-blk.r {
		return b.nextSlow(n)
	}
	at := blk.r
	blk.r += n
	b.length -= n
	return blk.mem[at:blk.r:blk.r], nil
}

func (b *LinkBuffer) nextSlow(n int) ([]byte, error) {
	p, err := b.contiguous("Next", n)
	if err == nil && n > 0 {
		b.read.r += n
		b.length -= n
	}
	return p, err
}

// Peek implements Reader.
func (b *LinkBuffer) Peek(n int) ([]byte, error) {
	blk := b.read
	if n <= 0 || n > b.length || n > blk.w-blk.r {
		return b.contiguous("Peek", n)
	}
	return blk.mem[blk.r : blk.r+n : blk.r+n], nil
}

// contiguous returns the next n bytes from the read block. It brings them there first if they are
// elsewhere or have not arrived.
func (b *LinkBuffer) contiguous(op string, n int) ([]byte, error) {
	if err := b.checkSize(op, n); err != nil {
		return nil, err
	}
	if n == 0 {
		return []byte{}, nil
	}
	if n > b.length {
		if err := b.fillTogether(n); err != nil {
			return nil, err
		}
	}
	b.skipEmpty()
	if n > b.read.size() {
		b.bringTogether(n)
	}
	blk := b.read
	return blk.mem[blk.r : blk.r+n : blk.r+n], nil
}

// bringTogether makes the first n readable bytes, which are in several blocks, contiguous.
// Blocks made for it double in size, so that a sequence of growing Peeks copies each byte
// a bounded number of times.
func (b *LinkBuffer) bringTogether(n int) {
	if b.read.limit-b.read.r >= n {
		b.join(n)
		return
	}
	blk := b.newBlock(doubled(max(n, b.sizes().joinMin)))
	b.countGrown(blk)
	blk.grown = true
	b.rejoin(blk, nil, n)
}

// doubled returns the smallest power of two that is at least n, or MaxBytes.
func doubled(n int) int {
	size := 1
	for size < n {
		if size > MaxBytes/2 {
			return MaxBytes
		}
		size *= 2
	}
	return size
}

// Skip implements Reader.
func (b *LinkBuffer) Skip(n int) error {
	if blk := b.read; n > 0 && n <= b.length && n <= blk.w-blk.r {
		blk.r += n
		b.length -= n
		return nil
	}
	return b.skipSlow(n)
}

func (b *LinkBuffer) skipSlow(n int) error {
	if err := b.await("Skip", n); err != nil {
		return err
	}
	b.advance(n)
	return nil
}

// advance moves read past the next n bytes, n <= length.
func (b *LinkBuffer) advance(n int) {
	b.length -= n
	for n > 0 {
		b.skipEmpty()
		k := min(n, b.read.size())
		b.read.r += k
		n -= k
	}
}

// Until implements Reader.
func (b *LinkBuffer) Until(delim byte) ([]byte, error) {
	for searched := 0; ; {
		if i := b.index(delim, searched); i >= 0 {
			return b.Next(i + 1)
		}
		searched = b.length
		if err := b.await("Until", searched+1); err != nil {
			rest, failed := b.Next(b.length)
			if failed != nil {
				return nil, err
			}
			return rest, err
		}
	}
}

// index returns the position of the first delim among the readable bytes from position
// from on, or -1.
func (b *LinkBuffer) index(delim byte, from int) int {
	at := 0
	for blk := b.read; blk != nil && at < b.length; blk = blk.next {
		k := min(blk.size(), b.length-at)
		if skip := max(0, from-at); skip < k {
			if i := bytes.IndexByte(blk.mem[blk.r+skip:blk.r+k], delim); i >= 0 {
				return at + skip + i
			}
		}
		at += k
	}
	return -1
}

// ReadByte implements Reader.
func (b *LinkBuffer) ReadByte() (byte, error) {
	p, err := b.Next(1)
	if err != nil {
		return 0, err
	}
	return p[0], nil
}

// ReadString implements Reader.
func (b *LinkBuffer) ReadString(n int) (string, error) {
	if blk := b.read; n > 0 && n <= b.length && n <= blk.w-blk.r {
		at := blk.r
		blk.r += n
		b.length -= n
		return string(blk.mem[at:blk.r]), nil
	}
	p, err := b.readOwned("ReadString", n)
	if err != nil || n == 0 {
		return "", err
	}
	return stringOf(p), nil
}

// ReadBinary implements Reader.
func (b *LinkBuffer) ReadBinary(n int) ([]byte, error) { return b.readOwned("ReadBinary", n) }

// ReadFrame implements FrameReader.
func (b *LinkBuffer) ReadFrame(n int) ([]byte, error) { return b.readOwned("ReadFrame", n) }

// readOwned returns the next n bytes in memory that only the caller refers to.
func (b *LinkBuffer) readOwned(op string, n int) ([]byte, error) {
	if err := b.checkSize(op, n); err != nil {
		return nil, err
	}
	if n > b.length {
		return b.fillFrame(n)
	}
	return b.takeOwned(n), nil
}

// copyOut moves the next len(p) bytes to p, len(p) <= length.
func (b *LinkBuffer) copyOut(p []byte) {
	b.length -= len(p)
	for len(p) > 0 {
		b.skipEmpty()
		blk := b.read
		k := copy(p, blk.mem[blk.r:blk.w])
		blk.r += k
		p = p[k:]
	}
}
