package apache

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
)

func (p *compactProtocol) WriteMessageBegin(ctx context.Context, name string, kind thrift.TMessageType, seqID int32) error {
	if err := p.trans.beforeWrite(); err != nil {
		return err
	}
	p.writeIDs, p.lastID, p.boolPending = p.writeIDs[:0], 0, false
	var head [2 + compact.MaxVarint64]byte
	if err := p.out.copyBytes(compact.AppendMessage(head[:0], uint8(kind), seqID)); err != nil {
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
	return p.writeFieldHeader(compactType(t), id)
}

func (p *compactProtocol) writeFieldHeader(t compact.Type, id int16) error {
	last := p.lastID
	p.lastID = id
	var head [1 + compact.MaxVarint64]byte
	return p.out.copyBytes(compact.AppendField(head[:0], t, id, last))
}

func (p *compactProtocol) WriteFieldStop(context.Context) error {
	return p.out.writeByte(byte(compact.Stop))
}

func (p *compactProtocol) WriteMapBegin(_ context.Context, key, value thrift.TType, size int) error {
	var head [1 + compact.MaxVarint64]byte
	return p.out.copyBytes(compact.AppendMap(head[:0], compactType(key), compactType(value), size))
}

func (p *compactProtocol) WriteListBegin(_ context.Context, elem thrift.TType, size int) error {
	var head [1 + compact.MaxVarint64]byte
	return p.out.copyBytes(compact.AppendList(head[:0], compactType(elem), size))
}

func (p *compactProtocol) WriteSetBegin(ctx context.Context, elem thrift.TType, size int) error {
	return p.WriteListBegin(ctx, elem, size)
}

func (p *compactProtocol) WriteBool(_ context.Context, value bool) error {
	t := compact.OfBool(value)
	if !p.boolPending {
		return p.out.writeByte(byte(t))
	}
	p.boolPending = false
	return p.writeFieldHeader(t, p.boolID)
}

func (p *compactProtocol) WriteI16(_ context.Context, value int16) error {
	return p.writeVarint(compact.Zigzag(int64(value)))
}

func (p *compactProtocol) WriteI32(_ context.Context, value int32) error {
	return p.writeVarint(compact.Zigzag(int64(value)))
}

func (p *compactProtocol) WriteI64(_ context.Context, value int64) error {
	return p.writeVarint(compact.Zigzag(value))
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

func (p *compactProtocol) writeVarint(v uint64) error {
	if v < 0x80 {
		return p.out.writeByte(byte(v))
	}
	var b [compact.MaxVarint64]byte
	return p.out.copyBytes(compact.AppendVarint(b[:0], v))
}

// These write nothing.

func (p *compactProtocol) WriteMessageEnd(context.Context) error { return nil }
func (p *compactProtocol) WriteFieldEnd(context.Context) error   { return nil }
func (p *compactProtocol) WriteMapEnd(context.Context) error     { return nil }
func (p *compactProtocol) WriteListEnd(context.Context) error    { return nil }
func (p *compactProtocol) WriteSetEnd(context.Context) error     { return nil }
