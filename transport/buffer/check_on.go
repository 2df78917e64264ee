//go:build buffercheck

package buffer

import (
	"fmt"
	"runtime"
	"sync/atomic"
)

// The checks below find uses of memory after it was given back, writes behind its end and double
// releases. They add to the data structures of the normal build and change none of them.

const (
	// canaryBytes follow the memory of each root and must never change.
	canaryBytes = 16
	canaryByte  = 0xC5
	// poisonByte fills memory that must not be read.
	poisonByte = 0xDD
)

// outstanding counts roots between acquire and recycle.
var outstanding atomic.Int64

// blockCheck is what a block keeps for the checks.
type blockCheck struct {
	state *checkState // root: set by checkNew; otherwise nil
}

// checkState outlives its block: the cleanup of a collected block looks at it.
type checkState struct {
	inUse atomic.Bool // counted in outstanding
}

func (s *checkState) take() {
	if s.inUse.Swap(true) {
		panic("buffer: BUG: block taken twice")
	}
	outstanding.Add(1)
}

func (s *checkState) drop() {
	if s.inUse.Swap(false) {
		outstanding.Add(-1)
	}
}

// checkNew poisons new memory, so that no caller relies on zeroes, and starts counting it.
func checkNew(blk *block) {
	fill(blk.mem, poisonByte)
	fill(canary(blk), canaryByte)
	state := &checkState{}
	blk.check.state = state
	runtime.AddCleanup(blk, (*checkState).drop, state)
	state.take()
}

// checkAcquire panics if memory was written after it was given back.
func checkAcquire(blk *block) {
	if i := firstOther(blk.mem, poisonByte); i >= 0 {
		panic(fmt.Sprintf("buffer: BUG: byte %d of a block of %d was written after the block was given back", i, len(blk.mem)))
	}
	blk.check.state.take()
}

// checkFree panics if the block is not in use or something wrote behind its end, and
// poisons its memory.
func checkFree(blk *block) {
	if !blk.check.state.inUse.Load() {
		panic("buffer: BUG: block given back twice")
	}
	if firstOther(canary(blk), canaryByte) >= 0 {
		panic(fmt.Sprintf("buffer: BUG: a write behind the end of a block of %d bytes", len(blk.mem)))
	}
	fill(blk.mem, poisonByte)
	blk.check.state.drop()
}

// checkAbandon stops counting a root that is left to the garbage collector.
func checkAbandon(blk *block) { blk.check.state.drop() }

// checkReleased poisons the bytes of an unshared root that were read and released.
func checkReleased(blk *block) {
	if blk.kind == kindRoot && blk.local == 1 && blk.refs.Load() == 1 {
		fill(blk.mem[:blk.r], poisonByte)
	}
}

func canary(blk *block) []byte {
	n := len(blk.mem)
	return blk.mem[n : n+canaryBytes]
}

func fill(p []byte, c byte) {
	for i := range p {
		p[i] = c
	}
}

// firstOther returns the index of the first byte that is not c, or -1.
func firstOther(p []byte, c byte) int {
	for i := range p {
		if p[i] != c {
			return i
		}
	}
	return -1
}

// Outstanding returns the number of memory blocks taken and not given back, if the
// program was built with the tag buffercheck; ok is false otherwise. Blocks that the
// garbage collector found unreachable, and blocks left to it on purpose, do not count.
func Outstanding() (blocks int64, ok bool) { return outstanding.Load(), true }
