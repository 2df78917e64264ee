package schema

import (
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/typecache"
)

// Struct is what a generated struct declares.
type Struct struct {
	Type   reflect.Type
	Fields []Field // in the order of the Go type

	// KeepsUnknown says that the struct has a field, at UnknownOffset, that keeps unknown fields.
	KeepsUnknown  bool
	UnknownOffset uintptr

	// MinBytes is how many bytes the smallest message of this type takes: its required fields, each
	// with the smallest value of its type, and the stop byte.
	MinBytes int
	// Memory is how many bytes a new struct takes, with its default values.
	Memory int64
	// Required has a bit for each of the first RequiredBits required fields. NumRequired is the
	// number of all required fields.
	Required    uint64
	NumRequired int

	defaults int64 // the part of Memory that the default values take
	low      [lowIDs]*Field
	byID     map[int16]*Field
}

// lowIDs is the ID below which a field is found without a map.
const lowIDs = 32

// Field is the declaration of one field.
type Field struct {
	Value
	ID           int16
	Name         string
	Index        int // among the fields of the Go type
	Offset       uintptr
	Requiredness Requiredness
	Boxed        bool   // a scalar or string held by pointer
	Number       int    // among the required fields, from zero; -1 if it is not required
	Bit          uint64 // in Struct.Required; 0 if it has none there
}

// Value is the declaration of the values of a field, or of a container's elements or keys.
type Value struct {
	Type       reflect.Type // without the pointer of a boxed field
	ThriftType tbinary.Type
	Other      tbinary.Type // a second possible type, if neither tag nor code decides; 0: none
	Enum       bool         // four bytes on the wire, declared as an enum
	Fields     *Struct      // of a struct, held by value or by pointer
	Key        *Value       // of a map
	Elem       *Value       // of a list, set or map

	sizes sizes
}

// Field returns the field with an ID, or nil.
func (s *Struct) Field(id int16) *Field {
	if uint16(id) < lowIDs {
		return s.low[id]
	}
	return s.byID[id]
}

// HasStructsInMaps reports whether a map, of the struct or of one below it, holds structs by value
// as keys or elements.
func (s *Struct) HasStructsInMaps() bool {
	seen := map[*Struct]bool{}
	var inStruct func(s *Struct) bool
	var inValue func(v *Value) bool
	inStruct = func(s *Struct) bool {
		if seen[s] {
			return false
		}
		seen[s] = true
		return slices.ContainsFunc(s.Fields, func(f Field) bool { return inValue(&f.Value) })
	}
	inValue = func(v *Value) bool {
		switch {
		case v == nil:
			return false
		case v.Fields != nil:
			return inStruct(v.Fields)
		case v.Key != nil && (v.Key.Type.Kind() == reflect.Struct || v.Elem.Type.Kind() == reflect.Struct):
			return true
		}
		return inValue(v.Key) || inValue(v.Elem)
	}
	return inStruct(s)
}

// Accepts reports whether a field is read from a value of type t. Generated code skips other
// values.
func (v *Value) Accepts(t tbinary.Type) bool {
	return t == v.ThriftType || v.Other != 0 && t == v.Other
}

// MinBytes returns how many bytes the smallest value takes on the wire.
func (v *Value) MinBytes() int {
	switch {
	case v.Fields != nil:
		return v.Fields.MinBytes
	case v.Other != 0:
		return min(v.ThriftType.MinSize(), v.Other.MinSize())
	}
	return v.ThriftType.MinSize()
}

// MinElement returns how many bytes the smallest element of a list or set takes on the wire, or the
// smallest pair of a map.
func (v *Value) MinElement() int { return v.sizes.bytes }

// SameLayout reports whether values of the two types have the same parts. Generated code, which
// does not look at the message's type, then reads one as the other.
func SameLayout(a, b tbinary.Type) bool {
	if a == b {
		return true
	}
	if a == tbinary.List || a == tbinary.Set {
		return b == tbinary.List || b == tbinary.Set
	}
	return a.FixedSize() > 0 && a.FixedSize() == b.FixedSize()
}

// cache keeps the results of Of.
type cache = typecache.Cache[Struct]

// known has results that depend on the type alone, so the order of calls makes no difference.
//
//nolint:gochecknoglobals // a cache of a pure function's results
var known cache

// Of returns what t, a struct or a pointer to one, declares. It fails for a field without one of
// the generator's tags, and for a tag that does not fit its field's type.
//
// The first call for a type takes a few microseconds for each type below it; later calls look it
// up. Of runs code of the types. If that code asks for the same type, it gets typecache.ErrBusy.
func Of(t reflect.Type) (*Struct, error) {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is not a struct", t)
	}
	return of(&known, t)
}

func of(c *cache, t reflect.Type) (*Struct, error) {
	return c.Of(t, func() {
		b := builder{cache: c}
		b.build(t)
		b.types.Publish(c)
	})
}

// RequiredBits is how many required fields of a struct have a bit.
const RequiredBits = 64

// addRequired gives a field its number and its bit.
func (s *Struct) addRequired(f *Field) {
	f.Number = s.NumRequired
	s.NumRequired++
	if f.Number < RequiredBits {
		f.Bit = 1 << f.Number
		s.Required |= f.Bit
	}
}

// setMinBytes sets MinBytes. At this point the types of all fields are known, but the size of no
// struct: each counts as its stop byte.
func (s *Struct) setMinBytes() {
	s.MinBytes = 1
	for i := range s.Fields {
		if f := &s.Fields[i]; f.Requiredness == Required {
			size := f.ThriftType.MinSize()
			if f.Other != 0 {
				size = min(size, f.Other.MinSize())
			}
			s.MinBytes = min(s.MinBytes+3+size, math.MaxInt32)
		}
	}
}
