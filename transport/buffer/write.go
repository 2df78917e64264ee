package buffer

import "math"

// Malloc implements Writer.
func (b *LinkBuffer) Malloc(n int) ([]byte, error) {
	blk := b.tail
	if blk == nil || n <= 0 || n > blk.limit-blk.w {
		return b.mallocSlow(n)
	}
	at := blk.w
	blk.w += n
	b.malloced += n
	return blk.mem[at:blk.w:blk.w], nil
}

func (b *LinkBuffer) mallocSlow(n int) ([]byte, error) {
	if err := b.canWrite("Malloc", n); err != nil {
		return nil, err
	}
	if n == 0 {
		return []byte{}, nil
	}
	if spare := b.spare; spare != nil && spare.room() >= n {
		b.spare = nil
		b.push(b.fork(spare, spare.w))
	} else if b.tail == nil || b.tail.room() < n {
		sizes := b.sizes()
		b.push(b.newBlock(max(n, min(max(b.malloced/4, sizes.mallocMin), sizes.mallocMax))))
	}
	return b.Malloc(n)
}

// canWrite returns why n more bytes cannot be written.
func (b *LinkBuffer) canWrite(op string, n int) error {
	if b.failed != nil {
		return b.failed
	}
	most := min(MaxBytes, math.MaxInt-b.length-b.malloced)
	if n < 0 || n > most {
		return &SizeError{Op: op, N: n, Max: most}
	}
	return nil
}

// MallocAck implements Writer.
func (b *LinkBuffer) MallocAck(n int) error {
	if b.failed != nil {
		return b.failed
	}
	if n < 0 || n > b.malloced {
		return &SizeError{Op: "MallocAck", N: n, Max: b.malloced}
	}
	drop := b.malloced - n
	if drop == 0 {
		return nil
	}
	if drop > b.tail.size() {
		b.mallocAckSlow(n)
		return nil
	}
	b.malloced = n
	b.cut(b.tail, drop)
	return nil
}

// mallocAckSlow keeps the first n bytes written and gives the blocks behind them back.
func (b *LinkBuffer) mallocAckSlow(n int) {
	keep := b.length + n
	last := b.read
	for keep > last.size() {
		keep -= last.size()
		last = last.next
	}
	b.malloced = n
	for blk := last.next; blk != nil; blk = blk.next {
		if blk.inserted {
			b.inserted -= blk.size()
		}
	}
	b.freeBehind(last)
	b.cut(last, last.size()-keep)
}

// cut drops the last n bytes of the tail, all of which wait for Flush.
func (b *LinkBuffer) cut(blk *block, n int) {
	blk.w -= n
	if blk.inserted {
		b.inserted -= n
		b.cursor = nil
	}
	if blk.kind == kindForeign || blk.kind == kindView {
		blk.limit = blk.w // the memory behind w belongs to another owner
	}
}

// WriteByte implements Writer.
func (b *LinkBuffer) WriteByte(c byte) error {
	p, err := b.Malloc(1)
	if err != nil {
		return err
	}
	p[0] = c
	return nil
}

// WriteBinary implements Writer. From 4 KiB on p is kept by reference.
func (b *LinkBuffer) WriteBinary(p []byte) (int, error) {
	if len(p) >= b.sizes().linkMin {
		if err := b.link("WriteBinary", p); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	space, err := b.Malloc(len(p))
	if err != nil {
		return 0, err
	}
	return copy(space, p), nil
}

// WriteString implements Writer. From 4 KiB on s is kept by reference.
func (b *LinkBuffer) WriteString(s string) (int, error) {
	if len(s) >= b.sizes().linkMin {
		if err := b.link("WriteString", bytesOf(s)); err != nil {
			return 0, err
		}
		return len(s), nil
	}
	space, err := b.Malloc(len(s))
	if err != nil {
		return 0, err
	}
	return copy(space, s), nil
}

// Link implements Linker.
func (b *LinkBuffer) Link(p []byte) error { return b.link("Link", p) }

func (b *LinkBuffer) link(op string, p []byte) error {
	if err := b.canWrite(op, len(p)); err != nil || len(p) == 0 {
		return err
	}
	if b.tail != nil && b.tail.room() > 0 {
		b.spare = b.tail
	}
	b.push(b.foreign(p, len(p)))
	b.malloced += len(p)
	return nil
}

// Append implements Writer. All bytes of w, readable or not flushed, become bytes of b that wait
// for Flush; w is released and then empty. Slices that w's Malloc returned may be filled in until
// the Flush of b. If w is nil, b itself or no *LinkBuffer, the error is an *AppendError; if w is
// closed or its Sink has failed, it is w's error. The work is a few instructions for each block of
// w.
func (b *LinkBuffer) Append(w Writer) error {
	from, ok := w.(*LinkBuffer)
	switch {
	case b.failed != nil:
		return b.failed
	case !ok:
		return &AppendError{Writer: w, Reason: "not a *LinkBuffer"}
	case from == nil:
		return &AppendError{Writer: w, Reason: "nil"}
	case from == b:
		return &AppendError{Writer: w, Reason: "a buffer cannot be appended to itself"}
	case from.failed != nil:
		return from.failed
	}
	n := from.length + from.malloced
	if err := b.canWrite("Append", min(n, MaxBytes)); err != nil {
		return err
	}
	if n == 0 {
		return from.Release()
	}
	first, last := from.take()
	for blk := first; blk != nil; blk = blk.next {
		blk.inserted = false // for WriteDirect on b they are bytes like any others
	}
	b.push(first)
	b.tail = last
	b.malloced += n
	b.spare = nil
	return nil
}
