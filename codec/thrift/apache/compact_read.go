package apache

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/apache/thrift/lib/go/thrift"
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
	if head[0] != compactID || head[1]&compactVersions != compactVersion {
		return "", 0, 0, badVersion("no message of version %d of the compact protocol", compactVersion)
	}
	kind := thrift.TMessageType(head[1] >> compactTypeShift)
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
	t := compactType(head & 0x0f)
	switch {
	case t == compactStop:
		return "", thrift.STOP, 0, nil
	case t >= numCompactTypes:
		return "", thrift.STOP, 0, invalidData("unknown compact type %d", byte(t))
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
	case compactTrue:
		p.readBool = boolTrue
	case compactFalse:
		p.readBool = boolFalse
	}
	return "", thriftTypes[t], *last, nil
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
	if key, err = elementType(types >> 4); err == nil {
		value, err = elementType(types & 0x0f)
	}
	if err == nil {
		err = p.in.checkCount(size, compactSize(key)+compactSize(value))
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
	if size == longList {
		v, err := p.readVarint()
		if err != nil {
			return thrift.STOP, 0, err
		}
		size = int(int32(v))
	}
	if size == 0 && head&0x0f < byte(numCompactTypes) {
		return thriftTypes[head&0x0f], 0, nil // the type of no elements does not matter
	}
	elem, err := elementType(head & 0x0f)
	if err != nil {
		return thrift.STOP, 0, err
	}
	if err := p.in.checkCount(size, compactSize(elem)); err != nil {
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
	return b == byte(compactTrue), err
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
	return int64(v>>1) ^ -int64(v&1), err
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
// room.
func (p *compactProtocol) readVarint() (uint64, error) {
	var v uint64
	for shift := 0; shift < 7*maxVarint; shift += 7 {
		b, err := p.in.readByte()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, invalidData("varint of more than %d bytes", maxVarint)
}

func unzigzag32(v uint64) int32 {
	u := uint32(v)
	return int32(u>>1) ^ -int32(u&1)
}

// elementType returns the Thrift type for the compact type t of elements.
func elementType(t byte) (thrift.TType, error) {
	if t == byte(compactStop) || t >= byte(numCompactTypes) {
		return thrift.STOP, invalidData("unknown compact type %d", t)
	}
	return thriftTypes[t], nil
}

// compactSize returns how many bytes the smallest value of type t takes.
func compactSize(t thrift.TType) int {
	switch t {
	case thrift.DOUBLE:
		return 8
	case thrift.UUID:
		return 16
	}
	return 1
}
