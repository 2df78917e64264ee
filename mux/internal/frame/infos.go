package frame

import "encoding/binary"

// infoReader takes a header apart. After it failed it returns zeros.
type infoReader struct {
	rest   []byte
	failed bool
}

func (r *infoReader) skip(n int) []byte {
	if n > len(r.rest) || r.failed {
		r.failed = true
		return nil
	}
	p := r.rest[:n]
	r.rest = r.rest[n:]
	return p
}

func (r *infoReader) u8() uint8 {
	if p := r.skip(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *infoReader) u16() uint16 {
	if p := r.skip(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// value reads a length and as many bytes.
func (r *infoReader) value() []byte { return r.skip(int(r.u16())) }
