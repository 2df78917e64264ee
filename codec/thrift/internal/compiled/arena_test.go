package compiled

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestArenaCopies copies values of all densities out of a frame: each is equal and has memory that
// no other value uses, and the memory for all is in proportion to them.
func TestArenaCopies(t *testing.T) {
	for _, gap := range []int{1, 4, 30, 200, 3000} {
		for seed := range uint64(20) {
			random := rand.New(rand.NewPCG(seed, uint64(gap)))
			frame := make([]byte, 300<<10)
			for i := range frame {
				frame[i] = byte(random.Uint32())
			}
			var a arena
			var values, copies [][]byte
			bytesCopied, taken := 0, 0
			for pos := random.IntN(gap); pos < len(frame)-2*loneSize; pos += random.IntN(gap) {
				n := 1 + random.IntN(40)
				if random.IntN(100) == 0 {
					n = 1 + random.IntN(2*loneSize)
				}
				before := unsafe.SliceData(a.chunk)
				got := a.copied(frame, pos, n)
				if after := unsafe.SliceData(a.chunk); after != before {
					taken += len(a.chunk)
				}
				if len(got) != n || pointsInto(got, frame) {
					t.Fatalf("gap %d, seed %d: %d bytes at %d copied as %d, into the frame: %v", gap, seed, n, pos, len(got), pointsInto(got, frame))
				}
				values, copies = append(values, frame[pos:pos+n]), append(copies, got)
				bytesCopied += n
				pos += n
			}
			for i := range copies {
				if !bytes.Equal(copies[i], values[i]) {
					t.Fatalf("gap %d, seed %d: value %d differs", gap, seed, i)
				}
				clear(copies[i]) // must not show in the others
			}
			if most := maxSparse*bytesCopied + 2*windowSize; taken > most {
				t.Errorf("gap %d, seed %d: chunks of %d bytes for values of %d", gap, seed, taken, bytesCopied)
			}
			if len(copies) > 10 && gap <= 30 && a.from == nowhere {
				t.Errorf("gap %d, seed %d: copied one by one", gap, seed)
			}
			if gap == 3000 && a.from != nowhere {
				t.Errorf("seed %d: copied with what is between them", seed)
			}
		}
	}
}
