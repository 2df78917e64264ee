package schema

import (
	"math/bits"
	"reflect"
)

// The parts of the runtime's maps.
const (
	mapBytes     = 48   // the map itself
	groupSlots   = 8    // pairs of a group, besides its control word
	maxTable     = 1024 // pairs that a table has room for; larger maps have several
	maxInline    = 128  // a longer key or element is stored elsewhere, by its address
	pointerBytes = bits.UintSize / 8
)

// sizes is what the elements of a container take, in bytes.
type sizes struct {
	bytes    int   // the smallest element on the wire; the smallest pair of a map
	slot     int64 // an element in the slice's array; a pair in the map's table
	object   int64 // the structs that an element or a pair is or points to
	defaults int64 // the default values of such structs
	scratch  int64 // a key and an element on their way into a map
}

// setSizes sets what the accounting needs, for v and its parts. All structs are already measured.
func (v *Value) setSizes() {
	if v.Elem == nil {
		return
	}
	v.Elem.setSizes()
	v.sizes = sizes{bytes: v.Elem.MinBytes(), slot: int64(v.Elem.Type.Size())}
	if v.Key != nil {
		v.Key.setSizes()
		v.sizes.bytes += v.Key.MinBytes()
		v.sizes.slot = inline(v.Key.Type) + inline(v.Elem.Type)
		v.sizes.slot += v.sizes.slot / groupSlots // a group's control word, and padding
		v.sizes.scratch = Allocated(int64(v.Key.Type.Size())) + Allocated(int64(v.Elem.Type.Size()))
		v.sizes.object = beside(v.Key.Type) + beside(v.Elem.Type)
		v.Key.addObject(&v.sizes)
	}
	v.Elem.addObject(&v.sizes)
}

// addObject adds the struct that an element or key points to or is: generated code first reads it
// into other memory, and then copies it.
func (v *Value) addObject(to *sizes) {
	if v.Fields != nil {
		to.defaults += v.Fields.defaults
		to.object += int64(v.Fields.Type.Size())
	}
}

// inline returns how many bytes a key or element takes in a map's table, and beside how many it
// takes elsewhere.
func inline(t reflect.Type) int64 {
	if t.Size() > maxInline {
		return pointerBytes
	}
	return int64(t.Size())
}

func beside(t reflect.Type) int64 {
	if t.Size() > maxInline {
		return Allocated(int64(t.Size()))
	}
	return 0
}

// Memory returns how many bytes a list, set or map of n elements takes, including the structs that
// they point to.
func (v *Value) Memory(n int) int64 {
	count := int64(n)
	switch {
	case v.Key != nil && n > 0:
		return mapBytes + v.sizes.scratch + v.tables(n) + count*(v.sizes.object+v.sizes.defaults)
	case v.Key != nil:
		return mapBytes
	case n == 0:
		return 0
	}
	m := Allocated(count*v.sizes.slot) + count*v.sizes.defaults
	if v.sizes.object > 0 {
		m += Allocated(count * v.sizes.object)
	}
	return m
}

// tables returns how many bytes the tables of a map of n pairs take. n is positive.
func (v *Value) tables(n int) int64 {
	if n <= groupSlots {
		return Allocated(groupSlots*v.sizes.slot + groupSlots)
	}
	// A table is at most seven eighths full. If a map has several tables, some fill up before the
	// others and are replaced by two.
	slots := int64(1) << bits.Len(uint(n*8/7-1))
	if n*8/7 > maxTable/2 {
		slots *= 2
	}
	return slots*v.sizes.slot + slots
}

// Allocated returns how many bytes the allocator takes for n: its sizes are up to an eighth apart,
// and values above 512 bytes have a word in front.
func Allocated(n int64) int64 {
	if n > 512 {
		n += 8
	}
	step := int64(8)
	if n > 128 {
		step = 1 << (bits.Len64(uint64(n)) - 4)
	}
	return (n + step - 1) &^ (step - 1)
}

// Memory returns how many bytes the field's value takes besides the struct that has the field,
// without the arrays and tables of containers.
func (f *Field) Memory() int64 {
	switch {
	case f.Boxed:
		return Allocated(int64(f.Type.Size()))
	case f.Fields != nil && f.Type.Kind() == reflect.Pointer:
		return f.Fields.Memory
	}
	return 0
}
