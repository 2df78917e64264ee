package apache

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

func (p *compactProtocol) ReadMessageBegin(ctx context.Context) (string, thrift.TMessageType, int32, error) {
	if err := p.trans.beginRead(); err != nil {
		return "", 0, 0, err
	}
	p.readIDs[0], p.readBool = 0, boolUnknown
	head, err := p.in.next(2)
	if err != nil {
		return "", 0, 0, err
	}
	if !compact.IsMessage(head) {
		return "", 0, 0, badVersion("no message of version %d of the compact protocol", compact.Version)
	}
	kind := thrift.TMessageType(compact.MessageType(head))
	seqID, err := p.readVarint()
	if err != nil {
		return "", 0, 0, err
	}
	name, err := p.ReadString(ctx)
	if err != nil {
		return "", 0, 0, err
	}
	return name, kind, int32(seqID), nil
}

func (p *compactProtocol) ReadMessageEnd(context.Context) error { return p.in.end() }

func (p *compactProtocol) ReadStructBegin(context.Context) (string, error) {
	if err := p.in.beginStruct(); err != nil {
		return "", err
	}
	p.readIDs[p.in.depth] = 0
	return "", nil
}

func (p *compactProtocol) ReadStructEnd(context.Context) error { return p.in.endStruct() }

func (p *compactProtocol) ReadFieldBegin(context.Context) (string, thrift.TType, int16, error) {
	head, err := p.in.readByte()
	if err != nil {
		return "", thrift.STOP, 0, err
	}
	t := compact.Type(head & compact.TypeMask)
	if t == compact.Stop {
		return "", thrift.STOP, 0, nil
	}
	declared, err := elementType(t)
	if err != nil {
		return "", thrift.STOP, 0, err
	}
	last := &p.readIDs[min(p.in.depth, maxDepth)] // deeper structs were refused
	if delta := head >> 4; delta != 0 {
		*last += int16(delta)
	} else {
		v, err := p.readVarint()
		if err != nil {
			return "", thrift.STOP, 0, err
		}
		*last = int16(unzigzag32(v))
	}
	switch t {
	case compact.True:
		p.readBool = boolTrue
	case compact.False:
		p.readBool = boolFalse
	}
	return "", declared, *last, nil
}

func (p *compactProtocol) ReadFieldEnd(context.Context) error { return nil }

func (p *compactProtocol) ReadMapBegin(context.Context) (key, value thrift.TType, size int, err error) {
	v, err := p.readVarint()
	if err != nil {
		return thrift.STOP, thrift.STOP, 0, err
	}
	size = int(int32(v))
	if size == 0 {
		return thrift.STOP, thrift.STOP, 0, nil
	}
	types, err := p.in.readByte()
	if err != nil {
		return thrift.STOP, thrift.STOP, 0, err
	}
	if key, err = elementType(compact.Type(types >> 4)); err == nil {
		value, err = elementType(compact.Type(types & compact.TypeMask))
	}
	if err == nil {
		err = p.in.checkCount(size, compactType(key).MinSize()+compactType(value).MinSize())
	}
	if err != nil {
		return thrift.STOP, thrift.STOP, 0, err
	}
	return key, value, size, nil
}

func (p *compactProtocol) ReadMapEnd(context.Context) error { return nil }

func (p *compactProtocol) ReadListBegin(context.Context) (thrift.TType, int, error) {
	head, err := p.in.readByte()
	if err != nil {
		return thrift.STOP, 0, err
	}
	size := int(head >> 4)
	if size == compact.TypeMask {
		v, err := p.readVarint()
		if err != nil {
			return thrift.STOP, 0, err
		}
		size = int(int32(v))
	}
	t := compact.Type(head & compact.TypeMask)
	if size == 0 && t == compact.Stop {
		return thrift.STOP, 0, nil // the type of no elements does not matter
	}
	elem, err := elementType(t)
	if err != nil {
		return thrift.STOP, 0, err
	}
	if err := p.in.checkCount(size, compactType(elem).MinSize()); err != nil {
		return thrift.STOP, 0, err
	}
	return elem, size, nil
}

func (p *compactProtocol) ReadListEnd(context.Context) error { return nil }

func (p *compactProtocol) ReadSetBegin(ctx context.Context) (thrift.TType, int, error) {
	return p.ReadListBegin(ctx)
}

func (p *compactProtocol) ReadSetEnd(context.Context) error { return nil }

func (p *compactProtocol) ReadBool(context.Context) (bool, error) {
	if p.readBool != boolUnknown {
		value := p.readBool == boolTrue
		p.readBool = boolUnknown
		return value, nil
	}
	b, err := p.in.readByte()
	return b == byte(compact.True), err
}

func (p *compactProtocol) ReadI16(context.Context) (int16, error) {
	v, err := p.readVarint()
	return int16(unzigzag32(v)), err
}

func (p *compactProtocol) ReadI32(context.Context) (int32, error) {
	v, err := p.readVarint()
	return unzigzag32(v), err
}

func (p *compactProtocol) ReadI64(context.Context) (int64, error) {
	v, err := p.readVarint()
	return compact.Unzigzag(v), err
}

func (p *compactProtocol) ReadDouble(context.Context) (float64, error) {
	b, err := p.in.next(8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b)), nil
}

// ReadString returns a string that may point into the message's frame.
func (p *compactProtocol) ReadString(context.Context) (string, error) {
	n, err := p.readLength()
	if err != nil {
		return "", err
	}
	return p.in.readString(n)
}

// ReadBinary returns bytes that the caller owns, which may be a part of the message's frame.
func (p *compactProtocol) ReadBinary(context.Context) ([]byte, error) {
	n, err := p.readLength()
	if err != nil {
		return nil, err
	}
	return p.in.readBytes(n)
}

func (p *compactProtocol) readLength() (int, error) {
	v, err := p.readVarint()
	if err != nil {
		return 0, err
	}
	n := int(int32(v))
	return n, p.in.checkLength(n)
}

func (p *compactProtocol) ReadUUID(context.Context) (value thrift.Tuuid, err error) {
	b, err := p.in.next(len(value))
	copy(value[:], b)
	return value, err
}

// Skip implements thrift.TProtocol. It allocates nothing.
func (p *compactProtocol) Skip(ctx context.Context, t thrift.TType) error {
	return p.skip(ctx, t, maxDepth)
}

func (p *compactProtocol) skip(ctx context.Context, t thrift.TType, depth int) error {
	if depth <= 0 {
		return tooDeep()
	}
	var err error
	switch t {
	case thrift.BOOL:
		_, err = p.ReadBool(ctx)
	case thrift.BYTE:
		_, err = p.in.readByte()
	case thrift.I16, thrift.I32, thrift.I64:
		_, err = p.readVarint()
	case thrift.DOUBLE:
		_, err = p.in.next(8)
	case thrift.UUID:
		_, err = p.in.next(16)
	case thrift.STRING:
		var n int
		if n, err = p.readLength(); err == nil {
			err = p.in.skipLength(n)
		}
	case thrift.STRUCT, thrift.MAP, thrift.SET, thrift.LIST:
		return skipNested(ctx, p, t, depth-1)
	default:
		return invalidData("unknown type %d", t)
	}
	return err
}

// readVarint returns the next varint: up to ten bytes, of which the last counts as far as there is
// room. The library is that lenient; compact.Varint64 is not.
func (p *compactProtocol) readVarint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 7*compact.MaxVarint64; shift += 7 {
		b, err := p.in.readByte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, invalidData("varint of more than %d bytes", compact.MaxVarint64)
}

// unzigzag32 ignores what does not fit, as the library does.
func unzigzag32(v uint64) int32 {
	return int32(compact.Unzigzag(uint64(uint32(v))))
}

// elementType returns the Thrift type of values of type t.
func elementType(t compact.Type) (thrift.TType, error) {
	if t.Binary() == tbinary.Stop {
		return thrift.STOP, invalidData("unknown compact type %d", byte(t))
	}
	return thriftType(t), nil
}
