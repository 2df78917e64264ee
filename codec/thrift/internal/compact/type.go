package compact

import "github.com/kiteline/kiteline/codec/thrift/internal/tbinary"

// Type is the type of a value: four bits that share a byte with other bits.
type Type uint8

// The types. The type of a bool field is its value. In containers either type stands for bool, and
// the value is a byte with one of the two numbers.
const (
	Stop   Type = 0  // ends a struct; no value has it
	True   Type = 1  // of a field that is true, without more bytes
	False  Type = 2  // of a field that is false, without more bytes
	Byte   Type = 3  // one byte, signed
	I16    Type = 4  // a zigzag varint, as all integers but Byte
	I32    Type = 5  // a zigzag varint; enums too
	I64    Type = 6  // a zigzag varint
	Double Type = 7  // eight bytes, little-endian
	String Type = 8  // a length as varint, then the bytes; binary too
	List   Type = 9  // a header, then the elements
	Set    Type = 10 // as List
	Map    Type = 11 // a header, then keys and values by turns
	Struct Type = 12 // fields up to Stop
	UUID   Type = 13 // sixteen bytes

	// TypeMask has the bits of a byte's lower type. A count of elements that needs more than four
	// bits is this value, and follows the header.
	TypeMask = 0x0f

	numTypes = TypeMask + 1
)

// Untyped is written as the element type of an empty container if its type is not known.
const Untyped = String

var binaryTypes = [numTypes]tbinary.Type{
	True: tbinary.Bool, False: tbinary.Bool, Byte: tbinary.Byte, I16: tbinary.I16, I32: tbinary.I32,
	I64: tbinary.I64, Double: tbinary.Double, String: tbinary.String, List: tbinary.List, Set: tbinary.Set,
	Map: tbinary.Map, Struct: tbinary.Struct, UUID: tbinary.UUID,
}

var minSizes = [numTypes]uint8{
	True: 1, False: 1, Byte: 1, I16: 1, I32: 1, I64: 1, Double: 8, String: 1, List: 1, Set: 1, Map: 1,
	Struct: 1, UUID: 16,
}

var compactTypes = [256]Type{
	tbinary.Bool: True, tbinary.Byte: Byte, tbinary.I16: I16, tbinary.I32: I32, tbinary.I64: I64,
	tbinary.Double: Double, tbinary.String: String, tbinary.List: List, tbinary.Set: Set,
	tbinary.Map: Map, tbinary.Struct: Struct, tbinary.UUID: UUID,
}

// Of returns the type for values of the binary protocol's type t: True for bools, Stop if t is not
// the type of values.
func Of(t tbinary.Type) Type { return compactTypes[t] }

// OfBool returns the type of a field with this value.
func OfBool(value bool) Type {
	if value {
		return True
	}
	return False
}

// Binary returns the binary protocol's type, or tbinary.Stop if t is not the type of values.
func (t Type) Binary() tbinary.Type { return binaryTypes[t&TypeMask] }

// MinSize returns how many bytes the smallest element of type t takes.
func (t Type) MinSize() int { return int(minSizes[t&TypeMask]) }

// String returns the type's name in an IDL.
func (t Type) String() string { return t.Binary().String() }
