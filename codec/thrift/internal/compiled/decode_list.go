package compiled

import (
	"encoding/binary"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// list reads the list or set at pos into the slice at p.
func (d *decoder) list(v *value, p slot, pos int) int {
	if d.depth <= 0 {
		return d.fail(tbinary.TooDeep, pos, "")
	}
	t, n, first, err := tbinary.ListHeader(d.frame, pos, d.limits)
	if err != nil {
		d.err = err
		return failed
	}
	if n > 0 && t != v.elem.thriftType && !schema.SameLayout(t, v.elem.thriftType) {
		return d.fail(tbinary.BadType, pos, "elements of type "+t.String()+", declared "+v.elem.thriftType.String())
	}
	if !d.reserve(v, n, pos, first) {
		return failed
	}
	d.depth--
	pos = d.elements(v, p, n, first)
	d.depth++
	return pos
}

// reserve accounts for the n elements or pairs of the container at pos. The first of them is at
// first. It reports whether that many may follow; if not it sets err.
func (d *decoder) reserve(v *value, n, pos, first int) bool {
	if n > 0 && n > (len(d.frame)-first)/v.declared.MinElement() {
		d.fail(tbinary.TooLarge, pos, "more elements than the message has bytes for")
		return false
	}
	return d.take(v.declared.Memory(n), pos)
}

// elements reads n elements at pos. That many of the smallest fit into the rest of the frame.
func (d *decoder) elements(v *value, p slot, n, pos int) int { //nolint:cyclop // one case per kind
	b := d.frame[pos:]
	switch v.elem.kind {
	case kindBool:
		s := make([]bool, n)
		for i := range s {
			s[i] = b[i] == 1
		}
		*as[[]bool](p) = s
		return pos + n
	case kindInt8:
		s := make([]byte, n)
		copy(s, b)
		*as[[]byte](p) = s
		return pos + n
	case kindInt16:
		s := make([]uint16, n)
		for i := range s {
			s[i] = binary.BigEndian.Uint16(b[2*i:])
		}
		*as[[]uint16](p) = s
		return pos + 2*n
	case kindInt32:
		s := make([]uint32, n)
		for i := range s {
			s[i] = binary.BigEndian.Uint32(b[4*i:])
		}
		*as[[]uint32](p) = s
		return pos + 4*n
	case kindEnum:
		s := make([]int64, n)
		for i := range s {
			s[i] = int64(int32(binary.BigEndian.Uint32(b[4*i:])))
		}
		*as[[]int64](p) = s
		return pos + 4*n
	case kindInt64, kindDouble:
		s := make([]uint64, n)
		for i := range s {
			s[i] = binary.BigEndian.Uint64(b[8*i:])
		}
		*as[[]uint64](p) = s
		return pos + 8*n
	case kindString:
		return elementsOf[string](d, v, p, n, pos)
	case kindBytes, kindList:
		return elementsOf[[]byte](d, v, p, n, pos)
	case kindMap:
		return elementsOf[slot](d, v, p, n, pos)
	case kindObject:
		return d.objects(v, p, n, pos)
	}
	return d.structs(v, p, n, pos)
}

// elementsOf is elements for elements with the layout of T.
func elementsOf[T any](d *decoder, v *value, p slot, n, pos int) int {
	s := make([]T, n)
	for i := range s {
		if pos = d.value(v.elem, addr(&s[i]), pos); pos < 0 {
			return pos
		}
	}
	*as[[]T](p) = s
	return pos
}

// objects is elements for pointers to structs. It makes the structs together, as generated code
// does: that takes one allocation, and one struct in use keeps all of them from the collector.
func (d *decoder) objects(v *value, p slot, n, pos int) int {
	s := make([]slot, n)
	plan := v.elem.object
	object := d.newArray(plan, n)
	for i := range s {
		if i > 0 {
			object = at(object, uintptr(plan.size))
		}
		if pos = d.structAt(plan, object, pos); pos < 0 {
			return pos
		}
		s[i] = object
	}
	*as[[]slot](p) = s
	return pos
}

// newArray returns the address of the first of n new structs with their default values. reserve has
// accounted for them.
func (d *decoder) newArray(s *Struct, n int) slot {
	switch n {
	case 0:
		return nil
	case 1:
		return s.newObject()
	}
	// Grow allocates the elements and nothing else. MakeSlice also allocates a header, each time.
	if d.header == nil {
		d.header = new(sliceHeader)
	}
	*d.header = sliceHeader{}
	valueAt(s.sliceType, addr(d.header)).Grow(n)
	p := d.header.data
	if s.callsInit || len(s.defaults) > 0 {
		for i := range n {
			s.initialise(at(p, uintptr(i*s.size)))
		}
	}
	return p
}

// structs is elements for structs by value.
func (d *decoder) structs(v *value, p slot, n, pos int) int {
	plan := v.elem.object
	s := sliceHeader{data: d.newArray(plan, n), len: n, cap: n}
	for i := range n {
		if pos = d.structAt(plan, at(s.data, uintptr(i*plan.size)), pos); pos < 0 {
			return pos
		}
	}
	if n == 0 {
		s.data = sliceData([]slot{})
	}
	*as[sliceHeader](p) = s
	return pos
}
