package apache

import "unsafe"

// arenaSize is how much room is taken at once for short strings of a large frame. A string that is
// kept keeps that much in memory.
const arenaSize = 1 << 10

// arenaMax is the length up to which a string goes into an arena.
const arenaMax = arenaSize / 4

// readString returns the next n bytes as a string. n was checked by checkLength.
func (in *input) readString(n int) (string, error) {
	p, err := in.readBytes(n)
	// SAFETY: the bytes belong to the message alone (readBytes), no code writes to them again, and
	// p is the only slice that covers them.
	return unsafe.String(unsafe.SliceData(p), len(p)), err
}

// readBytes returns the next n bytes, which the caller owns: a part of the message's frame if that
// keeps little more than them in memory, otherwise a copy. The slice has no spare capacity. n was
// checked by checkLength.
func (in *input) readBytes(n int) ([]byte, error) {
	if n == 0 {
		return []byte{}, nil
	}
	if !in.framed && n > in.rest() && n > streamWindow {
		return in.readLong(n)
	}
	p, err := in.next(n)
	switch {
	case err != nil:
		return nil, err
	case in.owned && (len(in.buf) <= aliasedFrame || n >= len(in.buf)/aliasedShare):
		return p, nil
	case in.owned && n <= arenaMax:
		return in.copyToArena(p), nil
	}
	return append(make([]byte, 0, n), p...), nil
}

// copyToArena copies p into the arena with other short strings of this message.
func (in *input) copyToArena(p []byte) []byte {
	if len(in.arena) < len(p) {
		in.arena = make([]byte, arenaSize)
	}
	n := copy(in.arena, p)
	own := in.arena[:n:n]
	in.arena = in.arena[n:]
	return own
}

// readLong takes n bytes of a stream in memory of their own, which grows as they arrive.
func (in *input) readLong(n int) ([]byte, error) {
	before := in.rest()
	if err := in.consume(); err != nil {
		return nil, err
	}
	p, err := in.readOwned(n)
	if err != nil {
		return nil, transportFailure(err)
	}
	in.budget -= n - before
	return p, nil
}

// bytesOf returns the bytes of s, which must not be written to.
func bytesOf(s string) []byte {
	// SAFETY: an output hands them to a writer, which only reads them.
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
