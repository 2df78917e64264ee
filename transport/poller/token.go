package poller

// Token names one Target in one Poller: an index into the poller's table and the generation of that
// place. The kernel stores it and returns it with an event, so that no Go pointer lives in a kernel
// structure.
//
// Zero is no token. A token that was freed never becomes valid again until its place has been
// reused 2^32-1 times.
type Token uint64

// wakeToken marks the waker's own event. It is no target's token, see newToken.
const wakeToken Token = 0

// newToken packs index (low half) and generation (high half). The generation is never 0, so the
// token is never 0 either.
func newToken(index, generation uint32) Token {
	return Token(generation)<<32 | Token(index)
}

func (t Token) index() uint32      { return uint32(t) }
func (t Token) generation() uint32 { return uint32(t >> 32) }

// nextGeneration counts up and skips 0 when it wraps.
func nextGeneration(generation uint32) uint32 {
	generation++
	if generation == 0 {
		return 1
	}
	return generation
}
