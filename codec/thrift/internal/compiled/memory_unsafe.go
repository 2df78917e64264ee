package compiled

import (
	"reflect"
	"unsafe"
)

// This file is the only one of the package that converts pointers. The others may rely on this:
//
// A slot is the address of a variable whose Go type the compiler of plans has checked. It comes
// from reflection (a struct that the caller passed or newObject made), from addr, or by at from
// such an address and the offset of a field or element of that type. So it is aligned, points into
// one object, and is never kept beyond the call except inside that object's own memory.
//
// A slot is read and written as a type with the same layout as the variable's: sizes, alignment and
// places of pointers are equal, as the first rule of package unsafe requires. Named integer types
// are accessed as the unsigned integer of their size, pointers to structs and maps as slot. Slices
// are accessed as slices with elements of the same layout or, where only the header is moved, as
// []byte. The collector finds the elements' layout by the memory, which was allocated with the
// right one, not by the header's type.
//
// Maps are accessed as maps with a key and an element of the same layout; see mapKind. The runtime
// keeps no type in a map: it takes sizes, places of pointers and the hash function from the type
// that the running code was compiled for. These are the same for integers of one size, and for
// elements of one layout.
type slot unsafe.Pointer

// as returns the variable at p as a T.
func as[T any](p slot) *T {
	// SAFETY: the caller's plan says that the variable's layout is that of T, see slot.
	return (*T)(p)
}

// at returns the address offset bytes after p, inside the object that p points into.
func at(p slot, offset uintptr) slot {
	// SAFETY: offset is that of a field, or of an element inside the array, and comes from
	// reflection on the object's type.
	return slot(unsafe.Add(unsafe.Pointer(p), offset))
}

// addr returns the address of a variable.
func addr[T any](p *T) slot { return slot(p) }

// address returns the pointer in v, which must be one.
func address(v reflect.Value) slot { return slot(v.UnsafePointer()) }

// valueAt returns the variable at p, of type t, as reflection sees it.
func valueAt(t reflect.Type, p slot) reflect.Value {
	// SAFETY: p is the address of a variable of type t, see slot.
	return reflect.NewAt(t, unsafe.Pointer(p)).Elem()
}

// sliceData returns the address of the first element of s.
func sliceData[T any](s []T) slot { return slot(unsafe.SliceData(s)) }

// sliceHeader is a slice whose element type only reflection knows.
type sliceHeader struct {
	data     slot
	len, cap int
}

// textOf returns b, not empty, as a string.
func textOf(b []byte) string {
	// SAFETY: b is a part of a frame or of an arena's chunk. No other code writes to it, and no
	// other value has this part.
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// bytesOf returns the bytes of s, not empty, which must not be written to.
func bytesOf(s string) []byte {
	// SAFETY: a Writer's contract is that it only reads what it is given.
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
