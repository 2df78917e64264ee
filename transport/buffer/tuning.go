package buffer

// Sizes in bytes. See also the size classes in pool.go.
const (
	// readMin is the space of a read when few bytes come in.
	readMin = 4 << 10
	// readMax is the space of a read when many bytes come in.
	readMax = 64 << 10
	// mallocMin is the smallest block to write into.
	mallocMin = 4 << 10
	// mallocMax limits the blocks of a large message of small writes. Each is a quarter of the
	// message so far, so that no more memory than that is held beyond its bytes.
	mallocMax = 64 << 10
	// linkMin is the length from which WriteString and WriteBinary keep a reference
	// instead of copying.
	linkMin = 4 << 10
	// joinMin is the smallest block made to hold bytes of several blocks together.
	joinMin = 1 << 10
	// trustMax limits the memory taken only because a peer announced so many bytes. More is taken
	// only in step with the bytes that have arrived, or for a frame that is hardly longer.
	trustMax = 1 << 20
)

// smallReadsBeforeShrink is how many reads in a row must leave three quarters of the
// space unused before the space is halved.
const smallReadsBeforeShrink = 8

// tuning replaces the sizes above, so that tests need a few bytes instead of thousands, and counts
// work that must stay linear.
type tuning struct {
	readMin, readMax, mallocMin, mallocMax, linkMin, joinMin, trustMax int

	seekSteps   int // blocks that WriteDirect looked at
	copiedBytes int // bytes moved to make slices contiguous
	grownBytes  int // room of blocks made for that purpose
}

// defaults are the sizes in force outside of tests; never changed.
//
//nolint:gochecknoglobals // a constant table
var defaults = tuning{
	readMin: readMin, readMax: readMax, mallocMin: mallocMin, mallocMax: mallocMax,
	linkMin: linkMin, joinMin: joinMin, trustMax: trustMax,
}

// sizes returns the sizes that apply to b.
func (b *LinkBuffer) sizes() *tuning {
	if b.tuning != nil {
		return b.tuning
	}
	return &defaults
}

// newBlock returns a root with at least n bytes of room, exactly n in a tuned buffer.
func (b *LinkBuffer) newBlock(n int) *block {
	blk := acquire(n)
	if b.tuning != nil {
		blk.limit = n
	}
	return blk
}

// tuningOfPart returns the tuning for a Slice, which may be used on another goroutine.
func (b *LinkBuffer) tuningOfPart() *tuning {
	if b.tuning == nil {
		return nil
	}
	part := *b.tuning
	return &part
}

// countSeek, countCopied and countGrown feed the counters of a tuned buffer.

func (b *LinkBuffer) countSeek() {
	if b.tuning != nil {
		b.tuning.seekSteps++
	}
}

func (b *LinkBuffer) countCopied(n int) {
	if b.tuning != nil {
		b.tuning.copiedBytes += n
	}
}

func (b *LinkBuffer) countGrown(blk *block) {
	if b.tuning != nil {
		b.tuning.grownBytes += blk.limit
	}
}
