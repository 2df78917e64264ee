package tbinary

import "strconv"

// Type is the byte that gives a value's type on the wire.
type Type uint8

// The types of the binary protocol. The gaps are types that implementations no longer write.
const (
	Stop   Type = 0  // ends a struct; no value has it
	Void   Type = 1  // no value has it
	Bool   Type = 2  // one byte; 1 is true
	Byte   Type = 3  // one byte, signed
	Double Type = 4  // eight bytes, IEEE 754
	I16    Type = 6  // two bytes, big-endian as all integers
	I32    Type = 8  // four bytes; enums too
	I64    Type = 10 // eight bytes
	String Type = 11 // a length of four bytes, then the bytes; binary too
	Struct Type = 12 // fields (type, two bytes of ID, value), then Stop; unions and exceptions too
	Map    Type = 13 // two types, a count of four bytes, then keys and values by turns
	Set    Type = 14 // as List
	List   Type = 15 // a type, a count of four bytes, then the elements
	UUID   Type = 16 // sixteen bytes
)

const (
	// MaxPlainType is the largest type byte that a peer may announce for the elements of an empty
	// container. A byte above it is negative for code that reads it as signed.
	MaxPlainType Type = 0x7f

	fieldHeaderSize = 3 // type and ID
	listHeaderSize  = 5 // type and count
	mapHeaderSize   = 6 // two types and count
	lengthSize      = 4
)

// fixedSizes has the size of a type's values if all have the same, else 0.
var fixedSizes = [256]uint8{Bool: 1, Byte: 1, Double: 8, I16: 2, I32: 4, I64: 8, UUID: 16}

// minSizes has the size of a type's smallest value, 0 if no value has the type.
var minSizes = [256]uint8{
	Bool: 1, Byte: 1, Double: 8, I16: 2, I32: 4, I64: 8, UUID: 16,
	String: lengthSize, Struct: 1, Map: mapHeaderSize, Set: listHeaderSize, List: listHeaderSize,
}

// FixedSize returns how many bytes every value of type t takes. It returns 0 if that depends on the
// value or if no value can have this type.
func (t Type) FixedSize() int { return int(fixedSizes[t]) }

// MinSize returns how many bytes the smallest value of type t takes, 0 if no value can have it.
func (t Type) MinSize() int { return int(minSizes[t]) }

// String returns the type's name in an IDL, or "type 5" for a type without a name.
func (t Type) String() string {
	if name := typeNames[t]; name != "" {
		return name
	}
	return "type " + strconv.Itoa(int(t))
}

var typeNames = [256]string{
	Stop: "stop", Void: "void", Bool: "bool", Byte: "byte", Double: "double", I16: "i16", I32: "i32", I64: "i64",
	String: "string", Struct: "struct", Map: "map", Set: "set", List: "list", UUID: "uuid",
}
