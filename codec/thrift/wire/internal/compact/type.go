package compact

import wire "github.com/kiteline/kiteline/codec/thrift/internal/binary"

// The first two bytes of a message.
const (
	protocolID  = 0x82
	version     = 1
	versionMask = 0x1f
	typeShift   = 5 // the message's type, above the version
)

// IsMessage reports whether a message of the compact protocol can begin with b. It looks at two
// bytes.
func IsMessage(b []byte) bool {
	return len(b) >= 2 && b[0] == protocolID && b[1]&versionMask == version
}

// nibble is the type of a value in the compact protocol: four bits that share a byte with other
// bits.
type nibble uint8

// The types. The type of a bool field is its value. In containers either type stands for bool, and
// the value is a byte with one of the two numbers.
const (
	nibbleStop   nibble = 0
	nibbleTrue   nibble = 1
	nibbleFalse  nibble = 2
	nibbleByte   nibble = 3
	nibbleI16    nibble = 4
	nibbleI32    nibble = 5
	nibbleI64    nibble = 6
	nibbleDouble nibble = 7
	nibbleString nibble = 8
	nibbleList   nibble = 9
	nibbleSet    nibble = 10
	nibbleMap    nibble = 11
	nibbleStruct nibble = 12
	nibbleUUID   nibble = 13

	nibbleMask = 0x0f
	nibbles    = nibbleMask + 1
)

// expandedTypes has the binary protocol's type for each nibble, or Stop.
var expandedTypes = [nibbles]wire.Type{
	nibbleTrue: wire.Bool, nibbleFalse: wire.Bool, nibbleByte: wire.Byte, nibbleI16: wire.I16,
	nibbleI32: wire.I32, nibbleI64: wire.I64, nibbleDouble: wire.Double, nibbleString: wire.String,
	nibbleList: wire.List, nibbleSet: wire.Set, nibbleMap: wire.Map, nibbleStruct: wire.Struct,
	nibbleUUID: wire.UUID,
}

// minSizes has the size of a type's smallest value in the compact protocol.
var minSizes = [nibbles]uint8{
	nibbleTrue: 1, nibbleFalse: 1, nibbleByte: 1, nibbleI16: 1, nibbleI32: 1, nibbleI64: 1, nibbleDouble: 8,
	nibbleString: 1, nibbleList: 1, nibbleSet: 1, nibbleMap: 1, nibbleStruct: 1, nibbleUUID: 16,
}

// shrunkTypes has the nibble for each type of the binary protocol, or nibbleStop.
var shrunkTypes = [256]nibble{
	wire.Bool: nibbleTrue, wire.Byte: nibbleByte, wire.I16: nibbleI16, wire.I32: nibbleI32,
	wire.I64: nibbleI64, wire.Double: nibbleDouble, wire.String: nibbleString, wire.List: nibbleList,
	wire.Set: nibbleSet, wire.Map: nibbleMap, wire.Struct: nibbleStruct, wire.UUID: nibbleUUID,
}

// untyped is written as the element type of an empty container if its type is not known.
const (
	untyped       = wire.String
	untypedNibble = nibbleString
)
