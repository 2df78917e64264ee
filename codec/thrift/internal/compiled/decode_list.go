package compiled

import (
	wire "encoding/binary"
	"reflect"
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
)

const (
	// maxAhead is how many bytes are taken at a time for a container's elements, ahead of those that bear
	// them out. Most containers need no more.
	maxAhead = 16 << 10
	// maxAheadRatio bounds the same in relation to the bytes left of the message. Few structs are more
	// than this many times larger in memory than on the wire.
	maxAheadRatio = 16
)

// ahead returns how many of n elements of size bytes memory may be taken for at pos, at least one.
func (d *decoder) ahead(n, size, pos int) int {
	budget := min(maxAhead, maxAheadRatio*(len(d.frame)-pos))
	return max(1, min(n, budget/max(size, 1)))
}

// list reads the list or set at pos into the slice at p.
func (d *decoder) list(v *value, p slot, pos int) int {
	if d.depth <= 0 {
		return d.fail(binary.TooDeep, pos, "")
	}
	t, n, first, err := binary.ListHeader(d.frame, pos, d.limits)
	if err != nil {
		d.err = err
		return failed
	}
	if n > 0 && t != v.elem.wire && !sameLayout(t, v.elem.wire) {
		return d.fail(binary.BadType, pos, "elements of type "+t.String()+", declared "+v.elem.wire.String())
	}
	if !d.reserve(v, n, pos, first) {
		return failed
	}
	d.depth--
	pos = d.elements(v, p, n, first)
	d.depth++
	return pos
}

// reserve accounts for the n elements or pairs of the container at pos, the first of which is at first. It reports
// whether as many may follow; if not it sets err.
func (d *decoder) reserve(v *value, n, pos, first int) bool {
	switch {
	case n == 0:
	case n > (len(d.frame)-first)/v.sizes.wire:
		d.fail(binary.TooLarge, pos, "more elements than the message has bytes for")
		return false
	case n > d.memory/max(v.sizes.total, 1):
		d.fail(binary.TooLarge, pos, strconv.Itoa(n)+" elements of "+strconv.Itoa(v.sizes.total)+" bytes each in memory")
		return false
	}
	d.memory -= n * v.sizes.total
	return true
}

// sameLayout reports whether values of the two types are laid out alike on the wire, so that
// generated code, which does not look, reads one as the other.
func sameLayout(a, b binary.Type) bool {
	if a == binary.List || a == binary.Set {
		return b == binary.List || b == binary.Set
	}
	return a.FixedSize() > 0 && a.FixedSize() == b.FixedSize()
}

// elements reads n elements at pos. That many smallest ones fit into the rest of the frame.
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
			s[i] = wire.BigEndian.Uint16(b[2*i:])
		}
		*as[[]uint16](p) = s
		return pos + 2*n
	case kindInt32:
		s := make([]uint32, n)
		for i := range s {
			s[i] = wire.BigEndian.Uint32(b[4*i:])
		}
		*as[[]uint32](p) = s
		return pos + 4*n
	case kindEnum:
		s := make([]int64, n)
		for i := range s {
			s[i] = int64(int32(wire.BigEndian.Uint32(b[4*i:])))
		}
		*as[[]int64](p) = s
		return pos + 4*n
	case kindInt64, kindDouble:
		s := make([]uint64, n)
		for i := range s {
			s[i] = wire.BigEndian.Uint64(b[8*i:])
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

// elementsOf is elements for those with the layout of T.
func elementsOf[T any](d *decoder, v *value, p slot, n, pos int) int {
	s := make([]T, min(n, d.ahead(n, v.sizes.memory, pos)))
	for i := range n {
		if i == len(s) {
			s = append(s, make([]T, min(n-i, i))...)
		}
		if pos = d.value(v.elem, addr(&s[i]), pos); pos < 0 {
			return pos
		}
	}
	*as[[]T](p) = s
	return pos
}

// objects is elements for pointers to structs. The structs are made some at a time, which takes fewer
// allocations, and keeps all of them from the collector while one is in use, as generated code does.
func (d *decoder) objects(v *value, p slot, n, pos int) int {
	s := make([]slot, min(n, d.ahead(n, v.sizes.memory, pos)))
	supply := objects{plan: v.elem.object, wanted: n}
	for i := range n {
		if i == len(s) {
			s = append(s, make([]slot, min(n-i, i))...)
		}
		object := d.take(&supply, pos)
		if pos = d.structAt(supply.plan, object, pos); pos < 0 {
			return pos
		}
		s[i] = object
	}
	*as[[]slot](p) = s
	return pos
}

// objects is a supply of new structs.
type objects struct {
	plan   *Struct
	wanted int  // so many will be taken in all, from here on
	ready  int  // so many are made
	next   slot // the first of them
}

// take returns the address of a new struct with its default values, into which what is at pos will be read.
func (d *decoder) take(o *objects, pos int) slot {
	if o.ready == 0 {
		o.ready = d.ahead(o.wanted, o.plan.size, pos)
		o.wanted -= o.ready
		o.next = d.newArray(o.plan, o.ready)
	}
	p := o.next
	if o.ready--; o.ready > 0 {
		o.next = at(p, uintptr(o.plan.size))
	}
	return p
}

// newArray returns the address of the first of n new structs with their default values.
func (d *decoder) newArray(s *Struct, n int) slot {
	if n == 1 {
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

// structs is elements for structs in place.
func (d *decoder) structs(v *value, p slot, n, pos int) int {
	plan := v.elem.object
	have := 0
	s := sliceHeader{}
	for i := range n {
		if i == have {
			more := max(d.ahead(n-i, plan.size, pos), min(n-i, i))
			grown := sliceHeader{data: d.newArray(plan, have+more), len: have + more, cap: have + more}
			if have > 0 {
				reflect.Copy(valueAt(plan.sliceType, addr(&grown)), valueAt(plan.sliceType, addr(&s)))
			}
			s, have = grown, have+more
		}
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
