package apache

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/apache/thrift/lib/go/thrift"
)

func (p *binaryProtocol) ReadMessageBegin(ctx context.Context) (string, thrift.TMessageType, int32, error) {
	name, kind, seqID, err := p.readHeader(ctx)
	if err != nil {
		return "", 0, 0, err
	}
	return name, kind, seqID, nil
}

func (p *binaryProtocol) readHeader(ctx context.Context) (name string, kind thrift.TMessageType, seqID int32, err error) {
	if err := p.trans.beginRead(); err != nil {
		return "", 0, 0, err
	}
	head, err := p.ReadI32(ctx)
	if err != nil {
		return "", 0, 0, err
	}
	strict := head < 0
	switch {
	case strict && uint32(head)&thrift.VERSION_MASK != thrift.VERSION_1:
		return "", 0, 0, badVersion("version %#x of the binary protocol", uint32(head))
	case strict:
		kind = thrift.TMessageType(head & 0xff)
		name, err = p.ReadString(ctx)
	case p.strictRead:
		return "", 0, 0, badVersion("message without a version")
	default:
		name, err = p.readStringBody(int(head))
	}
	if err != nil {
		return "", 0, 0, err
	}
	if !strict {
		b, err := p.in.readByte()
		if err != nil {
			return "", 0, 0, err
		}
		kind = thrift.TMessageType(int8(b))
	}
	seqID, err = p.ReadI32(ctx)
	return name, kind, seqID, err
}

func (p *binaryProtocol) ReadMessageEnd(context.Context) error { return p.in.end() }

func (p *binaryProtocol) ReadStructBegin(context.Context) (string, error) {
	return "", p.in.beginStruct()
}

func (p *binaryProtocol) ReadStructEnd(context.Context) error { return p.in.endStruct() }

func (p *binaryProtocol) ReadFieldBegin(context.Context) (string, thrift.TType, int16, error) {
	t, err := p.in.readByte()
	if err != nil || t == thrift.STOP {
		return "", thrift.STOP, 0, err
	}
	b, err := p.in.next(2)
	if err != nil {
		return "", thrift.STOP, 0, err
	}
	return "", thrift.TType(t), int16(binary.BigEndian.Uint16(b)), nil
}

func (p *binaryProtocol) ReadFieldEnd(context.Context) error { return nil }

func (p *binaryProtocol) ReadMapBegin(context.Context) (key, value thrift.TType, size int, err error) {
	b, err := p.in.next(6)
	if err != nil {
		return thrift.STOP, thrift.STOP, 0, err
	}
	key, value = thrift.TType(b[0]), thrift.TType(b[1])
	size = int(int32(binary.BigEndian.Uint32(b[2:])))
	if err := p.in.checkCount(size, binarySize(key)+binarySize(value)); err != nil {
		return thrift.STOP, thrift.STOP, 0, err
	}
	return key, value, size, nil
}

func (p *binaryProtocol) ReadMapEnd(context.Context) error { return nil }

func (p *binaryProtocol) ReadListBegin(context.Context) (thrift.TType, int, error) {
	b, err := p.in.next(5)
	if err != nil {
		return thrift.STOP, 0, err
	}
	elem, size := thrift.TType(b[0]), int(int32(binary.BigEndian.Uint32(b[1:])))
	if err := p.in.checkCount(size, binarySize(elem)); err != nil {
		return thrift.STOP, 0, err
	}
	return elem, size, nil
}

func (p *binaryProtocol) ReadListEnd(context.Context) error { return nil }

func (p *binaryProtocol) ReadSetBegin(ctx context.Context) (thrift.TType, int, error) {
	return p.ReadListBegin(ctx)
}

func (p *binaryProtocol) ReadSetEnd(context.Context) error { return nil }

func (p *binaryProtocol) ReadBool(context.Context) (bool, error) {
	b, err := p.in.readByte()
	return b == 1, err
}

func (p *binaryProtocol) ReadI16(context.Context) (int16, error) {
	b, err := p.in.next(2)
	if err != nil {
		return 0, err
	}
	return int16(binary.BigEndian.Uint16(b)), nil
}

func (p *binaryProtocol) ReadI32(context.Context) (int32, error) {
	b, err := p.in.next(4)
	if err != nil {
		return 0, err
	}
	return int32(binary.BigEndian.Uint32(b)), nil
}

func (p *binaryProtocol) ReadI64(context.Context) (int64, error) {
	b, err := p.in.next(8)
	if err != nil {
		return 0, err
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}

func (p *binaryProtocol) ReadDouble(ctx context.Context) (float64, error) {
	v, err := p.ReadI64(ctx)
	return math.Float64frombits(uint64(v)), err
}

// ReadString returns a string that may point into the message's frame.
func (p *binaryProtocol) ReadString(ctx context.Context) (string, error) {
	n, err := p.ReadI32(ctx)
	if err != nil {
		return "", err
	}
	return p.readStringBody(int(n))
}

func (p *binaryProtocol) readStringBody(n int) (string, error) {
	if err := p.in.checkLength(n); err != nil {
		return "", err
	}
	return p.in.readString(n)
}

// ReadBinary returns bytes that the caller owns, which may be a part of the message's frame.
func (p *binaryProtocol) ReadBinary(ctx context.Context) ([]byte, error) {
	n, err := p.ReadI32(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.in.checkLength(int(n)); err != nil {
		return nil, err
	}
	return p.in.readBytes(int(n))
}

func (p *binaryProtocol) ReadUUID(context.Context) (value thrift.Tuuid, err error) {
	b, err := p.in.next(len(value))
	copy(value[:], b)
	return value, err
}

// Skip implements thrift.TProtocol. It allocates nothing.
func (p *binaryProtocol) Skip(ctx context.Context, t thrift.TType) error {
	return p.skip(ctx, t, maxDepth)
}

func (p *binaryProtocol) skip(ctx context.Context, t thrift.TType, depth int) error {
	if depth <= 0 {
		return tooDeep()
	}
	if size := binaryFixedSize(t); size > 0 {
		_, err := p.in.next(size)
		return err
	}
	switch t {
	case thrift.STRING:
		n, err := p.ReadI32(ctx)
		if err != nil {
			return err
		}
		if err := p.in.checkLength(int(n)); err != nil {
			return err
		}
		return p.in.skipLength(int(n))
	case thrift.STRUCT, thrift.MAP, thrift.SET, thrift.LIST:
		return skipNested(ctx, p, t, depth-1)
	}
	return invalidData("unknown type %d", t)
}

// skipper is a protocol that can skip a value that is at most depth deep, itself included.
type skipper interface {
	thrift.TProtocol
	skip(ctx context.Context, t thrift.TType, depth int) error
}

// skipNested skips a struct or container whose parts are at most depth deep.
func skipNested(ctx context.Context, p skipper, t thrift.TType, depth int) error {
	var key, elem thrift.TType
	var n int
	var err error
	switch t {
	case thrift.STRUCT:
		return skipStruct(ctx, p, depth)
	case thrift.MAP:
		key, elem, n, err = p.ReadMapBegin(ctx)
	default:
		elem, n, err = p.ReadListBegin(ctx) // a set is the same on the wire
	}
	for i := 0; i < n && err == nil; i++ {
		if t == thrift.MAP {
			if err = p.skip(ctx, key, depth); err != nil {
				break
			}
		}
		err = p.skip(ctx, elem, depth)
	}
	return err
}

func skipStruct(ctx context.Context, p skipper, depth int) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, t, _, err := p.ReadFieldBegin(ctx)
		if err != nil {
			return err
		}
		if t == thrift.STOP {
			return p.ReadStructEnd(ctx)
		}
		if err := p.skip(ctx, t, depth); err != nil {
			return err
		}
	}
}

// binaryFixedSize returns how many bytes every value of type t takes, 0 if they differ.
func binaryFixedSize(t thrift.TType) int {
	switch t {
	case thrift.BOOL, thrift.BYTE:
		return 1
	case thrift.I16:
		return 2
	case thrift.I32:
		return 4
	case thrift.I64, thrift.DOUBLE:
		return 8
	case thrift.UUID:
		return 16
	}
	return 0
}

// binarySize returns how many bytes the smallest value of type t takes.
func binarySize(t thrift.TType) int {
	if size := binaryFixedSize(t); size > 0 {
		return size
	}
	switch t {
	case thrift.STRING:
		return 4
	case thrift.MAP:
		return 6
	case thrift.LIST, thrift.SET:
		return 5
	}
	return 1 // a struct's end; no value has another type
}
