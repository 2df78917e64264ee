package compiled

import (
	"reflect"
	"sync/atomic"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
)

// kind is how a value lies in memory and how that becomes bytes.
type kind uint8

// The kinds of values.
const (
	kindBool   kind = iota + 1 // one byte, 0 or 1
	kindInt8                   // one byte
	kindInt16                  // two bytes
	kindInt32                  // four bytes; i32, and enums generated as int32
	kindInt64                  // eight bytes; i64
	kindDouble                 // eight bytes
	kindEnum                   // an int64, four bytes on the wire
	kindString                 // a string; string, and binary where it is a map's key
	kindBytes                  // a []byte
	kindStruct                 // a struct in place, as elements of containers can be
	kindObject                 // a pointer to a struct
	kindList                   // a slice; list and set
	kindMap                    // a map
)

// fixed reports whether all values of the kind take the same number of bytes on the wire.
func (k kind) fixed() bool { return k <= kindEnum }

// value is the plan for values of one type. It does not change once compiled.
type value struct {
	kind     kind
	wire     binary.Type
	enum     bool
	mapKind  mapKind       // of kindMap: how the map is accessed
	goType   reflect.Type  // as the struct has it, without the pointer of an optional scalar
	key      *value        // of kindMap
	elem     *value        // of kindMap and kindList
	object   *Struct       // of kindStruct and kindObject
	declared *schema.Value // what this is the plan for
}

// presence says when a field is written.
type presence uint8

// The presences.
const (
	always        presence = iota // required and default fields
	unlessNil                     // optional fields that can be nil
	unlessDefault                 // optional fields that hold a default value while they are not set
)

// field is the plan for a field of a struct. It does not change once compiled.
type field struct {
	value    *value
	offset   uintptr
	head     uint32 // the header on the wire: type, ID and a byte that the value overwrites
	id       int16
	kind     kind // of value
	wire     binary.Type
	presence presence
	direct   kind   // kind, kindInt64 for doubles, or 0 if the field is boxed
	boxed    bool   // an optional scalar or string, held by pointer
	required uint64 // the field's bit in Struct.required, 0 if it is not required
	counts   bool   // its being set counts for the check of a union
	memory   int64  // bytes that a boxed value takes, or a struct that is pointed to
	name     string
}

// Struct is the plan for a struct type.
type Struct struct {
	// Immutable once compiled.

	declared    *schema.Struct // what this is the plan for
	goType      reflect.Type
	pointerType reflect.Type
	sliceType   reflect.Type
	size        int

	fields   []field          // in the order in which FastWrite writes them
	leading  int              // so many of the fields are fixed in size and always written
	prefix   int              // and take so many bytes
	byID     []*field         // by ID, nil where no field has it
	sparse   map[int16]*field // those whose ID is beyond byID
	required uint64           // a bit for each required field
	union    bool             // exactly one field must be set to be written

	keepsUnknown  bool // the struct has a field for the fields it does not know
	unknownOffset uintptr

	prototype slot     // a struct as InitDefault leaves it, never handed out
	defaults  []*field // fields that are copied from it into a new struct
	callsInit bool     // copying is not enough: InitDefault must be called

	// Atomic: how many bytes the last ones encoded took, as a first guess for the next.
	hint atomic.Int64
}

// lookup returns the field with an ID, or nil.
func (s *Struct) lookup(id int16) *field {
	if i := int(uint16(id)); i < len(s.byID) {
		return s.byID[i]
	}
	if s.sparse == nil {
		return nil
	}
	return s.sparse[id]
}

// newObject returns the address of a new struct with its default values.
func (s *Struct) newObject() slot {
	p := address(reflect.New(s.goType))
	s.initialise(p)
	return p
}

// initialise sets the default values of the zero struct at p, which is not on the stack.
func (s *Struct) initialise(p slot) {
	if s.callsInit {
		valueAt(s.goType, p).Addr().Interface().(schema.Defaulter).InitDefault() //nolint:errcheck // looked at when the type was compiled
		return
	}
	for _, f := range s.defaults {
		to, from := at(p, f.offset), at(s.prototype, f.offset)
		switch f.kind {
		case kindBool, kindInt8:
			*as[uint8](to) = *as[uint8](from)
		case kindInt16:
			*as[uint16](to) = *as[uint16](from)
		case kindInt32:
			*as[uint32](to) = *as[uint32](from)
		case kindString:
			*as[string](to) = *as[string](from)
		default:
			*as[uint64](to) = *as[uint64](from)
		}
	}
}
