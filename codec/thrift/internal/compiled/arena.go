package compiled

const (
	// chunkSize is the size of the memory that copied strings share, and so how much one of
	// them can keep from the collector. Frames no longer than that are as good to point into.
	chunkSize = 4 << 10
	// loneSize is the length from which a copied value gets memory of its own.
	loneSize = chunkSize / 4
	// maxBoxes is the largest number of optional numbers that share memory.
	maxBoxes = 32
)

// arena hands out memory for small values of one message. Its values share chunks, and keep a chunk from the
// collector until the last of them is gone.
type arena struct {
	chunk []byte   // the current chunk
	used  int      // so many of its bytes are in use
	boxes []uint64 // boxes that are not yet in use
	texts []string // as boxes
	// grown is how many boxes were made the last time.
	grownBoxes, grownTexts int
}

// copied returns a copy of b, which is not empty. At most left bytes are copied from here on.
func (a *arena) copied(b []byte, left int) []byte {
	if len(b) > len(a.chunk)-a.used {
		if len(b) >= loneSize {
			return append([]byte(nil), b...)
		}
		a.chunk, a.used = make([]byte, min(chunkSize, left)), 0
	}
	end := a.used + len(b)
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

// text returns the address of an empty string. Strings that do not share memory do not keep one
// another's bytes from the collector.
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
