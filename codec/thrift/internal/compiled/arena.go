package compiled

import "math"

const (
	// chunkSize bounds the memory that copied values share, and so how much one of them can keep
	// from the collector. Values may as well point into frames no longer than that.
	chunkSize = 4 << 10
	// windowSize is the size of that memory. The runtime hands out eight pieces of this size
	// between two of its slow paths, but only two of 4 KiB, which take it twice as long.
	windowSize = 3 << 10
	// loneSize is the length from which a copied value gets memory of its own.
	loneSize = windowSize / 4
	// maxSparse is how many times longer a copied part of the frame may be than its values. Above
	// it values are copied one by one.
	maxSparse = 8
	// maxBoxes is the largest number of optional numbers that share memory.
	maxBoxes = 32
)

// arena hands out memory for small values of one message. The values share chunks, and keep a chunk
// from the collector until the last of them is gone.
//
// If many small values follow one another, the arena copies their part of the frame in one go, and
// they point into the copy: the chunk then holds the frame's bytes from offset from on. Once such a
// part was mostly something else, the arena copies the values themselves, one after the other, and
// from is nowhere.
type arena struct {
	chunk []byte   // the current chunk
	from  int      // the offset of its bytes in the frame, or nowhere
	used  int      // how many of its bytes are in use
	boxes []uint64 // boxes that are not yet in use
	texts []string // as boxes
	// The numbers of boxes and texts made last time.
	grownBoxes, grownTexts int
}

// nowhere is beyond all offsets.
const nowhere = math.MaxInt

// copied returns a copy of the n bytes at offset pos of the frame, n > 0. The offsets of calls
// increase.
func (a *arena) copied(frame []byte, pos, n int) []byte {
	// A negative end counts as beyond the chunk; nowhere makes it negative.
	if end := pos - a.from + n; uint(end) <= uint(len(a.chunk)) {
		a.used += n
		return a.chunk[end-n : end : end]
	}
	return a.copiedSlow(frame, pos, n)
}

func (a *arena) copiedSlow(frame []byte, pos, n int) []byte {
	b := frame[pos : pos+n]
	if a.from != nowhere {
		switch {
		case n >= loneSize:
			return append([]byte(nil), b...)
		case maxSparse*a.used >= len(a.chunk):
			a.chunk = append([]byte(nil), frame[pos:min(pos+windowSize, len(frame))]...)
			a.from, a.used = pos, n
			return a.chunk[:n:n]
		}
		a.chunk, a.from, a.used = nil, nowhere, 0
	}
	if n > len(a.chunk)-a.used {
		if n >= loneSize {
			return append([]byte(nil), b...)
		}
		a.chunk, a.used = make([]byte, min(windowSize, len(frame)-pos)), 0
	}
	end := a.used + n
	c := a.chunk[a.used:end:end]
	a.used = end
	copy(c, b)
	return c
}

// box returns the address of eight zero bytes for a number.
func (a *arena) box() slot {
	if len(a.boxes) == 0 {
		a.grownBoxes = min(max(2*a.grownBoxes, 2), maxBoxes)
		a.boxes = make([]uint64, a.grownBoxes)
	}
	p := addr(&a.boxes[0])
	a.boxes = a.boxes[1:]
	return p
}

// text returns the address of an empty string. Strings that are not shared do not keep each other's
// bytes from the collector.
func (a *arena) text(shared bool) slot {
	if !shared {
		return addr(new(string))
	}
	if len(a.texts) == 0 {
		a.grownTexts = min(max(2*a.grownTexts, 2), maxBoxes)
		a.texts = make([]string, a.grownTexts)
	}
	p := addr(&a.texts[0])
	a.texts = a.texts[1:]
	return p
}
