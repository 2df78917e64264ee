package compact

// MaxVarint64 is how many bytes the longest integer takes.
const MaxVarint64 = 10

const maxVarint32 = 5 // the same for 32 bits

// Varint64 reads the integer at the start of b. n is its length, 0 if b ends inside it, and
// negative if it is not an integer of 64 bits. Longer forms than needed are accepted, up to the ten
// bytes of the largest.
func Varint64(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	for i, c := range b {
		if i == MaxVarint64-1 && c > 1 {
			return 0, -1
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// Varint32 is Varint64 for 32 bits, of up to five bytes.
func Varint32(b []byte) (v uint32, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), 1
	}
	for i, c := range b {
		if i == maxVarint32-1 && c > 0x0f {
			return 0, -1
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// AppendVarint appends v, seven bits to a byte, the lowest first.
func AppendVarint(dst []byte, v uint64) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// Zigzag puts the sign into the lowest bit, so that small negative numbers stay short.
func Zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

// Unzigzag is the inverse of Zigzag.
func Unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
