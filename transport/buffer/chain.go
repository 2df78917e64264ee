package buffer

// Only this file changes the chain of blocks and the memory that a block is a window on. The other
// files only move r and w, and with them length and malloced.

// push puts blk behind the tail.
func (b *LinkBuffer) push(blk *block) {
	if b.tail == nil {
		b.head, b.read = blk, blk
	} else {
		b.tail.next = blk
	}
	b.tail = blk
}

// insertAfter puts blk behind prev, which is in the chain.
func (b *LinkBuffer) insertAfter(prev, blk *block) {
	blk.next = prev.next
	prev.next = blk
	if b.tail == prev {
		b.tail = blk
	}
}

// skipEmpty moves read to the first block that has bytes, or to the tail.
func (b *LinkBuffer) skipEmpty() {
	for b.read != b.tail && b.read.r == b.read.w {
		b.read = b.read.next
	}
}

// foreign returns a block on memory of the caller or the garbage collector. The first n bytes are
// written; the others may be.
func (b *LinkBuffer) foreign(p []byte, n int) *block {
	node := b.newNode()
	node.kind = kindForeign
	node.mem, node.w, node.limit = p, n, len(p)
	return node
}

// fork cuts blk off at offset at, r <= at <= w, and returns a block on the rest, which the caller
// must put into the same chain behind blk.
func (b *LinkBuffer) fork(blk *block, at int) *block {
	node := b.newNode()
	node.mem, node.r, node.w, node.limit = blk.mem, at, blk.w, blk.limit
	node.inserted, node.collected = blk.inserted, blk.collected
	switch blk.kind {
	case kindRoot:
		node.kind, node.owner = kindFragment, blk
		blk.local++
	case kindFragment:
		node.kind, node.owner = kindFragment, blk.owner
		blk.owner.local++
	case kindView:
		node.kind, node.owner = kindView, blk.owner
		blk.owner.refs.Add(1)
	case kindForeign:
		node.kind = kindForeign
	default:
		panic("buffer: BUG: fork of a " + blk.kind.String() + " block")
	}
	blk.w, blk.limit = at, at
	return node
}

// view puts a window on the next n bytes of blk behind the tail of b. blk is in another buffer.
func (b *LinkBuffer) view(blk *block, n int) {
	node := b.newNode()
	node.mem, node.r, node.w, node.limit = blk.mem, blk.r, blk.r+n, blk.r+n
	node.collected = blk.collected
	switch blk.kind {
	case kindRoot:
		node.kind, node.owner = kindView, blk
		blk.refs.Add(1)
	case kindFragment, kindView:
		node.kind, node.owner = kindView, blk.owner
		blk.owner.refs.Add(1)
	case kindForeign:
		node.kind = kindForeign
	default:
		panic("buffer: BUG: view of a " + blk.kind.String() + " block")
	}
	b.push(node)
}

// free gives a block back that is no longer in the chain.
func (b *LinkBuffer) free(blk *block) {
	blk.next = nil
	switch owner := blk.owner; blk.kind {
	case kindRoot:
		blk.unrefLocal()
	case kindFragment:
		b.freeNode(blk)
		owner.unrefLocal()
	case kindView:
		b.freeNode(blk)
		owner.unref()
	case kindForeign:
		b.freeNode(blk)
	default:
		panic("buffer: BUG: a free block given back again")
	}
}

// freeRead gives the blocks before read back.
func (b *LinkBuffer) freeRead() {
	for b.head != b.read {
		blk := b.head
		b.head = blk.next
		if blk == b.spare {
			b.spare = nil
		}
		if blk == b.target {
			b.target = nil
		}
		b.free(blk)
	}
}

// freeBehind gives the blocks behind blk back and makes it the tail.
func (b *LinkBuffer) freeBehind(blk *block) {
	next := blk.next
	blk.next = nil
	b.tail = blk
	for next != nil {
		freed := next
		next = freed.next
		b.free(freed)
	}
	b.cursor, b.spare, b.target = nil, nil, nil
}

// freeAll gives back all blocks, whatever they hold, and the pending one.
func (b *LinkBuffer) freeAll() {
	next := b.head
	b.head, b.read, b.tail = nil, nil, nil
	b.cursor, b.spare, b.target = nil, nil, nil
	for next != nil {
		freed := next
		next = freed.next
		b.free(freed)
	}
	b.dropPending()
	b.returnNodes()
}

// dropPending undoes the last Reserve.
func (b *LinkBuffer) dropPending() {
	b.reserved = 0
	if b.pending != nil {
		b.free(b.pending)
		b.pending = nil
	}
}

// take removes all blocks from read on and returns the first and the last. The buffer is
// then empty. It must have a chain.
func (b *LinkBuffer) take() (first, last *block) {
	b.skipEmpty()
	b.freeRead()
	first, last = b.head, b.tail
	b.head, b.read, b.tail = nil, nil, nil
	b.length, b.malloced, b.inserted = 0, 0, 0
	b.freeAll()
	return first, last
}

// join puts the first n readable bytes, which must fit, behind the bytes of the read
// block, so that they are contiguous. n <= length.
func (b *LinkBuffer) join(n int) {
	into := b.read
	b.moveBehind(into, into.next, n-into.size())
}

// rejoin puts the first n readable bytes into blk, which is not in the chain and has room for them,
// and puts blk in front of the rest. The read block must hold fewer than n readable bytes, or all
// there are. unseen is the read block if no caller has seen its memory.
func (b *LinkBuffer) rejoin(blk, unseen *block, n int) {
	old := b.read
	k := min(n, old.size())
	b.move(blk, old, k)
	b.insertAfter(old, blk)
	b.read = blk
	if old.size() != 0 {
		panic("buffer: BUG: rejoin of bytes that are contiguous already")
	}
	b.moveBehind(blk, blk.next, n-k)
	b.outgrow(old, unseen)
}

// moveBehind moves n bytes, from block `from` on, to the end of into. from follows into in the
// chain. Blocks that have nothing left are given back at once: no caller has seen their memory.
func (b *LinkBuffer) moveBehind(into, from *block, n int) {
	for from != nil {
		k := min(n, from.size())
		b.move(into, from, k)
		n -= k
		if from.size() > 0 {
			break
		}
		freed := from
		from = from.next
		if freed == b.spare {
			b.spare = nil
		}
		b.free(freed)
		if n == 0 && from != nil {
			break
		}
	}
	into.next = from
	if from == nil {
		b.tail = into
	}
}

// move copies the next n bytes of from to the end of into.
func (b *LinkBuffer) move(into, from *block, n int) {
	into.w += copy(into.mem[into.w:into.limit], from.mem[from.r:from.r+n])
	from.r += n
	b.countCopied(n)
}

// outgrow decides what happens to a block whose bytes were moved to a larger one. Slices of a block
// that was read from may be in use until Release, so it stays, before read. Blocks that were
// themselves made by growing would together exceed the message if they stayed. They are left to the
// garbage collector, which knows whether a slice is in use.
func (b *LinkBuffer) outgrow(old, unseen *block) {
	reusable := old == unseen || old.kind == kindForeign
	if !reusable && !old.grown {
		return
	}
	if b.head == old {
		b.head = old.next
	} else {
		prev := b.head
		for prev.next != old {
			prev = prev.next
		}
		prev.next = old.next
	}
	if old == b.spare {
		b.spare = nil
	}
	if reusable {
		b.free(old)
		return
	}
	old.next = nil
	checkAbandon(old)
}
