package compact

const (
	maxVarint32Bytes = 5
	maxVarint64Bytes = 10
)

// varint64 reads the varint at the start of b. n is its length, 0 if b ends inside it, and negative
// if it is not an integer of 64 bits. Longer forms than needed are accepted, up to the ten bytes of
// the largest.
func varint64(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	for i, c := range b {
		if i == maxVarint64Bytes-1 && c > 1 {
			return 0, -1
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// varint32 is varint64 for 32 bits, of up to five bytes.
func varint32(b []byte) (v uint32, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), 1
	}
	for i, c := range b {
		if i == maxVarint32Bytes-1 && c > 0x0f {
			return 0, -1
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

func appendVarint(dst []byte, v uint64) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// Zigzag puts the sign into the lowest bit, so that small negative numbers stay short.

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
