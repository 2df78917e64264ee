package apache

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// The library's types are the type bytes of the binary protocol.

func compactType(t thrift.TType) compact.Type { return compact.Of(tbinary.Type(t)) }
func thriftType(t compact.Type) thrift.TType  { return thrift.TType(t.Binary()) }

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
