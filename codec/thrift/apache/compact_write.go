package apache

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/apache/thrift/lib/go/thrift"
)

func (p *compactProtocol) WriteMessageBegin(ctx context.Context, name string, kind thrift.TMessageType, seqID int32) error {
	if err := p.trans.beforeWrite(); err != nil {
		return err
	}
	p.writeIDs, p.lastID, p.boolPending = p.writeIDs[:0], 0, false
	b, err := p.out.space(2)
	if err != nil {
		return err
	}
	b[0] = compactID
	b[1] = compactVersion | byte(kind)<<compactTypeShift
	if err := p.writeVarint(uint64(uint32(seqID))); err != nil {
		return err
	}
	return p.WriteString(ctx, name)
}

func (p *compactProtocol) WriteStructBegin(context.Context, string) error {
	p.writeIDs = append(p.writeIDs, p.lastID)
	p.lastID = 0
	return nil
}

func (p *compactProtocol) WriteStructEnd(context.Context) error {
	if len(p.writeIDs) == 0 {
		return invalidData("end of a struct that has not begun")
	}
	last := len(p.writeIDs) - 1
	p.lastID, p.writeIDs = p.writeIDs[last], p.writeIDs[:last]
	return nil
}

// WriteFieldBegin leaves the header of a bool to WriteBool, because the value is a part of it.
func (p *compactProtocol) WriteFieldBegin(_ context.Context, _ string, t thrift.TType, id int16) error {
	if t == thrift.BOOL {
		p.boolPending, p.boolID = true, id
		return nil
	}
	return p.writeFieldHeader(compactTypeOf(t), id)
}

func (p *compactProtocol) writeFieldHeader(t compactType, id int16) error {
	delta := int(id) - int(p.lastID)
	p.lastID = id
	if delta > 0 && delta <= 15 {
		return p.out.writeByte(byte(delta)<<4 | byte(t))
	}
	if err := p.out.writeByte(byte(t)); err != nil {
		return err
	}
	return p.writeVarint(zigzag32(int32(id)))
}

func (p *compactProtocol) WriteFieldStop(context.Context) error {
	return p.out.writeByte(byte(compactStop))
}

func (p *compactProtocol) WriteMapBegin(_ context.Context, key, value thrift.TType, size int) error {
	if size == 0 {
		return p.out.writeByte(0)
	}
	if err := p.writeVarint(uint64(uint32(size))); err != nil {
		return err
	}
	return p.out.writeByte(byte(compactTypeOf(key))<<4 | byte(compactTypeOf(value)))
}

func (p *compactProtocol) WriteListBegin(_ context.Context, elem thrift.TType, size int) error {
	t := byte(compactTypeOf(elem))
	if size < longList {
		return p.out.writeByte(byte(size)<<4 | t)
	}
	if err := p.out.writeByte(longList<<4 | t); err != nil {
		return err
	}
	return p.writeVarint(uint64(uint32(size)))
}

func (p *compactProtocol) WriteSetBegin(ctx context.Context, elem thrift.TType, size int) error {
	return p.WriteListBegin(ctx, elem, size)
}

func (p *compactProtocol) WriteBool(_ context.Context, value bool) error {
	t := compactFalse
	if value {
		t = compactTrue
	}
	if !p.boolPending {
		return p.out.writeByte(byte(t))
	}
	p.boolPending = false
	return p.writeFieldHeader(t, p.boolID)
}

func (p *compactProtocol) WriteI16(_ context.Context, value int16) error {
	return p.writeVarint(zigzag32(int32(value)))
}

func (p *compactProtocol) WriteI32(_ context.Context, value int32) error {
	return p.writeVarint(zigzag32(value))
}

func (p *compactProtocol) WriteI64(_ context.Context, value int64) error {
	return p.writeVarint(uint64(value<<1 ^ value>>63))
}

func (p *compactProtocol) WriteDouble(_ context.Context, value float64) error {
	b, err := p.out.space(8)
	if err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(b, math.Float64bits(value))
	return nil
}

func (p *compactProtocol) WriteString(_ context.Context, value string) error {
	if err := p.writeLength(len(value)); err != nil {
		return err
	}
	return p.out.writeString(value)
}

// WriteBinary keeps a reference to a long value until Flush.
func (p *compactProtocol) WriteBinary(_ context.Context, value []byte) error {
	if err := p.writeLength(len(value)); err != nil {
		return err
	}
	return p.out.writeBytes(value)
}

func (p *compactProtocol) writeLength(n int) error {
	if err := checkWrite(n); err != nil {
		return err
	}
	return p.writeVarint(uint64(n))
}

func (p *compactProtocol) WriteUUID(_ context.Context, value thrift.Tuuid) error {
	return p.out.copyBytes(value[:])
}

// writeVarint appends v, seven bits to a byte, the lowest first.
func (p *compactProtocol) writeVarint(v uint64) error {
	if v < 0x80 {
		return p.out.writeByte(byte(v))
	}
	n := varintSize(v)
	b, err := p.out.space(n)
	if err != nil {
		return err
	}
	for i := range n - 1 {
		b[i] = byte(v) | 0x80
		v >>= 7
	}
	b[n-1] = byte(v)
	return nil
}

func varintSize(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

// zigzag32 maps numbers of small absolute value to small numbers.
func zigzag32(v int32) uint64 { return uint64(uint32(v<<1 ^ v>>31)) }

// These write nothing.

func (p *compactProtocol) WriteMessageEnd(context.Context) error { return nil }
func (p *compactProtocol) WriteFieldEnd(context.Context) error   { return nil }
func (p *compactProtocol) WriteMapEnd(context.Context) error     { return nil }
func (p *compactProtocol) WriteListEnd(context.Context) error    { return nil }
func (p *compactProtocol) WriteSetEnd(context.Context) error     { return nil }
