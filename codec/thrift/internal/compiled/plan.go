package compiled

import (
	"reflect"
	"sync/atomic"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// kind is how a value is laid out in memory, and how that becomes bytes.
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
	kindString                 // a string; string, and binary as a map's key
	kindBytes                  // a []byte
	kindStruct                 // a struct by value, as elements of containers can be
	kindObject                 // a pointer to a struct
	kindList                   // a slice; list and set
	kindMap                    // a map
)

// fixed reports whether all values of the kind take the same number of bytes on the wire.
func (k kind) fixed() bool { return k <= kindEnum }

// value is the plan for values of one type. It does not change once compiled.
type value struct {
	kind       kind
	thriftType tbinary.Type
	enum       bool
	mapKind    mapKind       // of kindMap: how the map is accessed
	goType     reflect.Type  // in the struct, without the pointer of an optional scalar
	key        *value        // of kindMap
	elem       *value        // of kindMap and kindList
	object     *Struct       // of kindStruct and kindObject
	declared   *schema.Value // what this plan is for
}

// presence says when a field is written.
type presence uint8

// The presences.
const (
	always        presence = iota // required and default fields
	unlessNil                     // optional fields that can be nil
	unlessDefault                 // optional fields that hold a default value while unset
)

// field is the plan for a field of a struct. It does not change once compiled.
type field struct {
	value      *value
	offset     uintptr
	head       uint32 // the header on the wire: type, ID and a byte that the value overwrites
	id         int16
	kind       kind // of value
	thriftType tbinary.Type
	presence   presence
	direct     kind   // kind, kindInt64 for doubles, or 0 if the field is boxed
	boxed      bool   // an optional scalar or string, held by pointer
	required   uint64 // the field's bit in Struct.required, 0 if it is not required
	counts     bool   // the check of a union counts it when it is set
	memory     int64  // bytes of a boxed value, or of a struct by pointer
	name       string
}

// Struct is the plan for a struct type.
type Struct struct {
	// Immutable once compiled.

	declared    *schema.Struct // what this plan is for
	goType      reflect.Type
	pointerType reflect.Type
	sliceType   reflect.Type
	size        int

	fields   []field          // in the order of FastWrite
	leading  int              // how many first fields are of fixed size and always written
	prefix   int              // bytes of these on the wire
	byID     []*field         // by ID, nil where no field has it
	sparse   map[int16]*field // the fields whose ID is beyond byID
	required uint64           // a bit for each required field
	union    bool             // exactly one field must be set to be written

	keepsUnknown  bool // the struct has a field that keeps unknown fields
	unknownOffset uintptr

	prototype slot     // a struct after InitDefault, never handed out
	defaults  []*field // the fields to copy from prototype into a new struct
	callsInit bool     // copying is not enough: InitDefault must be called

	// Atomic: the size of recently encoded structs, as a first guess for the next.
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
