package apache

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"
)

const (
	compactID        = 0x82
	compactVersion   = 1
	compactVersions  = 0x1f // the version's bits in a message's second byte
	compactTypeShift = 5    // position of the message's type in it
	longList         = 15   // stands for a count that follows
	maxVarint        = 10   // bytes of a varint of 64 bits
)

// compactType is a type on the wire of the compact protocol.
type compactType byte

const (
	compactStop   compactType = iota // ends a struct
	compactTrue                      // a field that is true; any bool elsewhere
	compactFalse                     // a field that is false
	compactByte                      // one byte
	compactI16                       // a zigzag varint
	compactI32                       // a zigzag varint
	compactI64                       // a zigzag varint
	compactDouble                    // eight bytes, little-endian
	compactBinary                    // a varint, then that many bytes
	compactList                      // size and type, then the elements
	compactSet                       // as compactList
	compactMap                       // size, two types, then keys and values
	compactStruct                    // fields up to compactStop
	compactUUID                      // sixteen bytes
	numCompactTypes
)

// String returns the type's name in an IDL.
func (t compactType) String() string {
	if t >= numCompactTypes {
		return "unknown"
	}
	return thriftTypes[t].String()
}

// thriftTypes has the type of the values of a compactType.
var thriftTypes = [numCompactTypes]thrift.TType{
	compactStop: thrift.STOP, compactTrue: thrift.BOOL, compactFalse: thrift.BOOL, compactByte: thrift.BYTE,
	compactI16: thrift.I16, compactI32: thrift.I32, compactI64: thrift.I64, compactDouble: thrift.DOUBLE,
	compactBinary: thrift.STRING, compactList: thrift.LIST, compactSet: thrift.SET, compactMap: thrift.MAP,
	compactStruct: thrift.STRUCT, compactUUID: thrift.UUID,
}

const numThriftTypes = thrift.UUID + 1

// compactTypes is the inverse of thriftTypes; 0 for types without a compact type.
var compactTypes = [numThriftTypes]compactType{
	thrift.BOOL: compactTrue, thrift.BYTE: compactByte, thrift.I16: compactI16, thrift.I32: compactI32,
	thrift.I64: compactI64, thrift.DOUBLE: compactDouble, thrift.STRING: compactBinary, thrift.LIST: compactList,
	thrift.SET: compactSet, thrift.MAP: compactMap, thrift.STRUCT: compactStruct, thrift.UUID: compactUUID,
}

// compactTypeOf returns the compact type of t, or compactStop.
func compactTypeOf(t thrift.TType) compactType {
	if int(t) >= len(compactTypes) {
		return compactStop
	}
	return compactTypes[t]
}

// compactProtocol is Thrift's compact protocol over a Transport's buffers.
type compactProtocol struct {
	byteValues

	in    *input
	out   *output
	trans *Transport

	// reading
	readIDs  [maxDepth + 1]int16 // last field ID of each open struct; in.depth is the innermost
	readBool boolField           // of the field that begins

	// writing
	writeIDs    []int16 // last field ID of each struct around the innermost
	lastID      int16   // of the innermost struct
	boolPending bool    // a bool field has begun, and its header waits for the value
	boolID      int16   // its ID
}

// boolField is a bool whose value came with its field's header.
type boolField uint8

const (
	boolUnknown boolField = iota // the value is still to be read
	boolTrue                     // it was true, and is read by the next ReadBool
	boolFalse                    // it was false, and is read by the next ReadBool
)

// String returns the value.
func (b boolField) String() string {
	return [...]string{boolUnknown: "unknown", boolTrue: "true", boolFalse: "false"}[b]
}

var (
	_ thrift.TProtocol            = (*compactProtocol)(nil)
	_ thrift.TConfigurationSetter = (*compactProtocol)(nil)
)

// NewCompactProtocol returns the compact protocol over t. It reads and writes what
// thrift.TCompactProtocol does; conf may be nil.
func NewCompactProtocol(t *Transport, conf *thrift.TConfiguration) thrift.TProtocol {
	thrift.PropagateTConfiguration(t, conf)
	return &compactProtocol{byteValues: newByteValues(t), in: &t.in, out: &t.out, trans: t}
}

// SetTConfiguration implements thrift.TConfigurationSetter.
func (p *compactProtocol) SetTConfiguration(conf *thrift.TConfiguration) {
	thrift.PropagateTConfiguration(p.trans, conf)
}

// Transport implements thrift.TProtocol.
func (p *compactProtocol) Transport() thrift.TTransport { return p.trans }

// Flush implements thrift.TProtocol.
func (p *compactProtocol) Flush(ctx context.Context) error { return p.trans.Flush(ctx) }
