package schema

import (
	"math/bits"
	"reflect"
)

// What the runtime's maps are made of.
const (
	mapBytes     = 48   // the map itself
	groupSlots   = 8    // pairs of a group, beside a word that controls them
	maxTable     = 1024 // pairs for which a table has room; larger maps have several tables
	maxInline    = 128  // a longer key or element stands elsewhere, and the map has its address
	pointerBytes = bits.UintSize / 8
)

// sizes is what the elements of a container take.
type sizes struct {
	wire     int   // bytes of the smallest on the wire; of the smallest pair of a map
	slot     int64 // bytes in the slice's array; in the map's table, of a pair
	object   int64 // bytes of the struct that an element, or the key and the element of a pair, are or point to
	defaults int64 // bytes that the default values of such structs take
	scratch  int64 // bytes for a key and an element on their way into a map
}

// setSizes sets what the accounting needs, of v and its parts. All structs are measured.
func (v *Value) setSizes() {
	if v.Elem == nil {
		return
	}
	v.Elem.setSizes()
	v.sizes = sizes{wire: v.Elem.MinWire(), slot: int64(v.Elem.Type.Size())}
	if v.Key != nil {
		v.Key.setSizes()
		v.sizes.wire += v.Key.MinWire()
		v.sizes.slot = inline(v.Key.Type) + inline(v.Elem.Type)
		v.sizes.slot += v.sizes.slot / groupSlots // of the word of a group, and of padding
		v.sizes.scratch = Allocated(int64(v.Key.Type.Size())) + Allocated(int64(v.Elem.Type.Size()))
		v.sizes.object = beside(v.Key.Type) + beside(v.Elem.Type)
		v.Key.addObject(&v.sizes)
	}
	v.Elem.addObject(&v.sizes)
}

// addObject adds the struct that an element or key points to, or that it is: generated code reads
// it elsewhere first, and copies it.
func (v *Value) addObject(to *sizes) {
	if v.Fields != nil {
		to.defaults += v.Fields.defaults
		to.object += int64(v.Fields.Type.Size())
	}
}

// inline returns how many bytes a key or element takes in a map's table, and beside how many
// elsewhere.
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

// Memory returns how many bytes a list, set or map of n elements takes, with the structs that they
// point to.
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

// tables returns how many bytes the tables of a map of n pairs take, n > 0.
func (v *Value) tables(n int) int64 {
	if n <= groupSlots {
		return Allocated(groupSlots*v.sizes.slot + groupSlots)
	}
	// A table is at most seven eighths full. Of the tables of a map that has several, some fill up
	// before the others, and are replaced by two.
	slots := int64(1) << bits.Len(uint(n*8/7-1))
	if n*8/7 > maxTable/2 {
		slots *= 2
	}
	return slots*v.sizes.slot + slots
}

// Allocated returns how many bytes the allocator takes for n: its sizes are up to an eighth apart,
// and values above 512 bytes have a word in front of them.
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
// except for the arrays and tables of containers.
func (f *Field) Memory() int64 {
	switch {
	case f.Boxed:
		return Allocated(int64(f.Type.Size()))
	case f.Fields != nil && f.Type.Kind() == reflect.Pointer:
		return f.Fields.Memory
	}
	return 0
}
