package frame

import "encoding/binary"

// infos steps through the string infos of a header. Its methods never read outside of the header,
// whatever is in it.
type infos struct {
	header []byte
	at     int // where the next item begins
	block  int // where the block of the last info begins
	info   int // where the last info begins
	left   int // how many more infos the block claims to have
	failed bool

	timeout []byte // the value seen under infoRPCTimeout so far; nil without one
}

// infosOf returns the infos of a frame's variable header, before the first one.
func infosOf(header []byte) infos {
	r := infos{header: header}
	r.skip(1)
	if transforms := r.skip(1); transforms != nil {
		r.skip(int(transforms[0]))
	}
	return r
}

// next returns the next string info; ok is false if there is none, or the header is malformed.
func (r *infos) next() (key, value []byte, ok bool) {
	for r.left == 0 {
		if r.failed || r.at == len(r.header) {
			return nil, nil, false
		}
		r.enterBlock()
	}
	r.left--
	r.info = r.at
	key, value = r.value(), r.value()
	if r.failed {
		r.left = 0
		return nil, nil, false
	}
	return key, value, true
}

// enterBlock skips an item that is not a string, or the head of a block of strings.
func (r *infos) enterBlock() {
	r.block = r.at
	switch r.skip(1)[0] {
	case infoPadding:
	case infoStrings:
		r.left = int(r.u16())
	case infoNumbers:
		for n := r.u16(); n > 0 && !r.failed; n-- {
			number := r.u16()
			if value := r.value(); number == infoRPCTimeout {
				r.timeout = value
			}
		}
	case infoToken:
		r.value()
	default:
		r.failed = true
	}
}

// shrinkBlock records that so many infos were removed from the block, which now ends at kept and
// not at end. Padding takes up the rest; a block without infos becomes padding as a whole.
func (r *infos) shrinkBlock(removed, kept, end int) {
	if r.countLess(removed) == 0 {
		kept = r.block
	}
	clear(r.header[kept:end])
}

// shrinkFaulty is shrinkBlock for a block whose last info is faulty: the header ends in it. That
// info stays where it is, or it would read padding as its end. The sound infos move towards it.
func (r *infos) shrinkFaulty(removed, kept int) {
	r.countLess(removed)
	start := r.block + r.info - kept
	copy(r.header[start:r.info], r.header[r.block:kept])
	clear(r.header[r.block:start])
}

// countLess subtracts removed from the block's count and returns what is left.
func (r *infos) countLess(removed int) uint16 {
	count := r.header[r.block+1 : r.block+3]
	left := binary.BigEndian.Uint16(count) - uint16(removed)
	binary.BigEndian.PutUint16(count, left)
	return left
}

// skip returns the next n bytes; nil if there are fewer.
func (r *infos) skip(n int) []byte {
	if n > len(r.header)-r.at || r.failed {
		r.failed = true
		return nil
	}
	p := r.header[r.at : r.at+n]
	r.at += n
	return p
}

func (r *infos) u16() uint16 {
	if p := r.skip(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// value reads a length and that many bytes.
func (r *infos) value() []byte { return r.skip(int(r.u16())) }
