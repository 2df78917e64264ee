package buffer

import "sync/atomic"

// blockKind says who owns the memory of a block and what a block must do when it leaves
// its chain. It is set when a block is taken and kindFree again when it is given back.
type blockKind uint8

const (
	kindFree     blockKind = iota // in a pool, or never used; left by acquire or newNode
	kindRoot                      // mem is its own; counted by local and refs
	kindFragment                  // part of owner's mem, in owner's chain; counted in owner.local
	kindView                      // part of owner's mem, in another chain; counted in owner.refs
	kindForeign                   // mem belongs to the caller or the garbage collector; not counted
)

// String returns the kind in a word, for panics and tests.
func (k blockKind) String() string {
	return [...]string{"free", "root", "fragment", "view", "foreign"}[k]
}

// classUnpooled is the class of memory too large for the pools, and of blocks without
// memory of their own.
const classUnpooled = -1

// A block is one link of a LinkBuffer's chain: a window on some memory.
//
//	mem: [ read already | r  readable and written  w | free  limit | not ours ]
//
// The owner of the chain owns all fields except refs, which all chains with a window on the same
// memory share. A block in a pool has local == 1, refs == 1 and next == nil, so that taking an
// unshared one and giving it back needs no atomic write.
type block struct {
	check blockCheck // empty unless built with the tag buffercheck

	mem   []byte // the whole memory, for offsets r, w and limit
	r     int    // 0 <= r <= w: the next byte to read
	w     int    // r <= w <= limit: the next byte to write
	limit int    // w <= limit <= len(mem): no other window reaches into mem[w:limit]
	next  *block // the following link, nil at the tail

	owner *block       // fragment, view: the root whose memory this is; otherwise nil
	refs  atomic.Int32 // root: chains that have it or a view of it; >= 1
	local int32        // root: itself plus its fragments in the same chain; >= 1
	class int8         // root: the pool it came from, or classUnpooled
	kind  blockKind

	// grown: made to hold bytes of several blocks together, and still in the chain. When it is
	// outgrown itself, it is left to the garbage collector, see outgrow.
	grown bool
	// inserted: all its bytes came through WriteDirect. Only meaningful before Flush.
	inserted bool
	// collected: foreign, on memory that was taken for a frame. No window on that memory overlaps
	// another, so the bytes in this one may be handed out as they are.
	collected bool
}

// size returns the bytes written and not yet read.
func (blk *block) size() int { return blk.w - blk.r }

// room returns the bytes that can still be written.
func (blk *block) room() int { return blk.limit - blk.w }

// unref drops one chain's reference. The last one gives the memory back.
//
// A count of 1, seen without a write, says that no other holder can come: only a holder of a
// reference can make another.
func (blk *block) unref() {
	if blk.refs.Load() == 1 {
		recycle(blk)
		return
	}
	blk.unrefSlow()
}

func (blk *block) unrefSlow() {
	switch n := blk.refs.Add(-1); {
	case n == 0:
		blk.refs.Store(1)
		recycle(blk)
	case n < 0:
		panic("buffer: BUG: block has fewer than no references")
	}
}

// unrefLocal drops the count of one block of the root's own chain, and the chain's
// reference with the last of them.
func (blk *block) unrefLocal() {
	if blk.local > 1 {
		blk.local--
		return
	}
	blk.unref()
}
