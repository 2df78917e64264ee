package buffer

import (
	"math/bits"
	"sync"

	"github.com/bytedance/gopkg/lang/dirtmake"
)

// Size classes of pooled memory are the powers of two between these two.
const (
	minClassShift = 10 // 1 KiB
	maxClassShift = 25
	classCount    = maxClassShift - minClassShift + 1

	// maxPooledBytes is the largest memory kept for reuse; larger memory is left to the garbage
	// collector. It covers one Malloc for 4000 strings of 4 KiB.
	maxPooledBytes = 1 << maxClassShift // 32 MiB
)

// maxMagazineNodes limits the blocks without memory that go to and from the pool together.
const maxMagazineNodes = 64

var (
	// blockPools holds *block of kindFree with their memory, by size class.
	blockPools [classCount]sync.Pool
	// nodePool holds lists of blocks without memory, linked by next; r of a list's first block is
	// the number of its blocks.
	nodePool sync.Pool
)

// classOf returns the class of the smallest memory of at least n bytes,
// 0 < n <= maxPooledBytes.
func classOf(n int) int {
	return max(bits.Len(uint(n-1)), minClassShift) - minClassShift
}

// acquire returns a root with at least n bytes of room, n > 0. Its content is undefined.
func acquire(n int) *block {
	if n > maxPooledBytes {
		return newRoot(n, classUnpooled)
	}
	class := classOf(n)
	if blk, ok := blockPools[class].Get().(*block); ok {
		blk.kind = kindRoot
		checkAcquire(blk)
		return blk
	}
	return newRoot(1<<(class+minClassShift), int8(class))
}

func newRoot(size int, class int8) *block {
	mem := dirtmake.Bytes(size, size+canaryBytes)
	blk := &block{mem: mem, limit: size, local: 1, class: class, kind: kindRoot}
	blk.refs.Store(1)
	checkNew(blk)
	return blk
}

// recycle gives a root without references back to its pool.
func recycle(blk *block) {
	if blk.kind != kindRoot || blk.local != 1 {
		panic("buffer: BUG: " + blk.kind.String() + " block given back as a root")
	}
	checkFree(blk)
	blk.kind = kindFree
	blk.grown, blk.inserted = false, false
	blk.r, blk.w, blk.limit = 0, 0, len(blk.mem)
	blk.next = nil
	if blk.class >= 0 {
		blockPools[blk.class].Put(blk)
	}
}

// newNode returns a block of kindFree without memory.
func (b *LinkBuffer) newNode() *block {
	node := b.nodes
	if node == nil {
		return b.newNodeSlow()
	}
	b.nodes = node.next
	b.nodeCount--
	node.next = nil
	return node
}

func (b *LinkBuffer) newNodeSlow() *block {
	node, ok := nodePool.Get().(*block)
	if !ok {
		return &block{class: classUnpooled}
	}
	b.nodes, b.nodeCount = node.next, node.r-1
	node.r, node.next = 0, nil
	return node
}

// freeNode keeps a block without memory of its own for the next newNode.
func (b *LinkBuffer) freeNode(node *block) {
	if node.kind == kindFree || node.kind == kindRoot {
		panic("buffer: BUG: " + node.kind.String() + " block given back as a node")
	}
	node.kind = kindFree
	node.inserted, node.grown, node.collected = false, false, false
	node.mem, node.owner = nil, nil
	node.r, node.w, node.limit = 0, 0, 0
	node.next = b.nodes
	b.nodes = node
	b.nodeCount++
	if b.nodeCount == maxMagazineNodes {
		b.returnNodes()
	}
}

// returnNodes gives the kept blocks without memory back to the pool, as one list.
func (b *LinkBuffer) returnNodes() {
	if b.nodes == nil {
		return
	}
	b.nodes.r = b.nodeCount
	nodePool.Put(b.nodes)
	b.nodes, b.nodeCount = nil, 0
}
