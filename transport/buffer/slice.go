package buffer

// Slice implements Reader. The Reader it returns is a *LinkBuffer. It shares the memory of b's
// blocks and keeps each block until that is read and released.
func (b *LinkBuffer) Slice(n int) (Reader, error) {
	if err := b.await("Slice", n); err != nil {
		return nil, err
	}
	part := &LinkBuffer{tuning: b.tuningOfPart(), length: n}
	b.length -= n
	for n > 0 {
		b.skipEmpty()
		k := min(n, b.read.size())
		part.view(b.read, k)
		b.read.r += k
		n -= k
	}
	return part, b.Release()
}
