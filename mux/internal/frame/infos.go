package frame

import "encoding/binary"

// infos steps through the string infos of a header. None of its methods reads outside of the
// header, whatever is in it.
type infos struct {
	header []byte
	at     int // where what comes next begins
	block  int // where the block begins that the last info is in
	info   int // where the last info begins
	left   int // how many more the block says that it has
	failed bool
}

// infosOf begins with the infos of a frame's variable header.
func infosOf(header []byte) infos {
	r := infos{header: header}
	r.skip(1)
	if transforms := r.skip(1); transforms != nil {
		r.skip(int(transforms[0]))
	}
	return r
}

// next returns the next string info; false when there is none, or the header is malformed.
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

// enterBlock passes what is no string, and the head of a block of strings.
func (r *infos) enterBlock() {
	r.block = r.at
	switch r.skip(1)[0] {
	case infoPadding:
	case infoStrings:
		r.left = int(r.u16())
	case infoNumbers:
		for n := r.u16(); n > 0 && !r.failed; n-- {
			r.skip(2)
			r.value()
		}
	case infoToken:
		r.value()
	default:
		r.failed = true
	}
}

// removeLast takes the last info out of the header, whose length stays: what is behind it moves
// up, and padding fills the end. An info that is alone in its block becomes padding where it is.
func (r *infos) removeLast() {
	count := r.header[r.block+1 : r.block+3]
	n := binary.BigEndian.Uint16(count)
	if n == 1 {
		clear(r.header[r.block:r.at])
		return
	}
	binary.BigEndian.PutUint16(count, n-1)
	kept := r.info + copy(r.header[r.info:], r.header[r.at:])
	clear(r.header[kept:])
	r.at = r.info
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

// value reads a length and as many bytes.
func (r *infos) value() []byte { return r.skip(int(r.u16())) }
