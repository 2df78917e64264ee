package apache

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/apache/thrift/lib/go/thrift"
)

// checkWritable returns why writing is impossible, or nil; it is called once per message.
func (p *binaryProtocol) checkWritable() error { return p.trans.beforeWrite() }

func (p *binaryProtocol) WriteMessageBegin(ctx context.Context, name string, kind thrift.TMessageType, seqID int32) error {
	if err := p.checkWritable(); err != nil {
		return err
	}
	if !p.strictWrite {
		if err := p.WriteString(ctx, name); err != nil {
			return err
		}
		b, err := p.out.space(5)
		if err != nil {
			return err
		}
		b[0] = byte(kind)
		binary.BigEndian.PutUint32(b[1:], uint32(seqID))
		return nil
	}
	b, err := p.out.space(4)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(b, thrift.VERSION_1|uint32(kind)&0xff)
	if err := p.WriteString(ctx, name); err != nil {
		return err
	}
	return p.WriteI32(ctx, seqID)
}

func (p *binaryProtocol) WriteFieldBegin(_ context.Context, _ string, t thrift.TType, id int16) error {
	b, err := p.out.space(3)
	if err != nil {
		return err
	}
	b[0] = byte(t)
	binary.BigEndian.PutUint16(b[1:], uint16(id))
	return nil
}

func (p *binaryProtocol) WriteFieldStop(context.Context) error { return p.out.writeByte(thrift.STOP) }

func (p *binaryProtocol) WriteMapBegin(_ context.Context, key, value thrift.TType, size int) error {
	b, err := p.out.space(6)
	if err != nil {
		return err
	}
	b[0], b[1] = byte(key), byte(value)
	binary.BigEndian.PutUint32(b[2:], uint32(size))
	return nil
}

func (p *binaryProtocol) WriteListBegin(_ context.Context, elem thrift.TType, size int) error {
	b, err := p.out.space(5)
	if err != nil {
		return err
	}
	b[0] = byte(elem)
	binary.BigEndian.PutUint32(b[1:], uint32(size))
	return nil
}

func (p *binaryProtocol) WriteSetBegin(ctx context.Context, elem thrift.TType, size int) error {
	return p.WriteListBegin(ctx, elem, size)
}

func (p *binaryProtocol) WriteBool(_ context.Context, value bool) error {
	if value {
		return p.out.writeByte(1)
	}
	return p.out.writeByte(0)
}

func (p *binaryProtocol) WriteI16(_ context.Context, value int16) error {
	b, err := p.out.space(2)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(b, uint16(value))
	return nil
}

func (p *binaryProtocol) WriteI32(_ context.Context, value int32) error {
	b, err := p.out.space(4)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(b, uint32(value))
	return nil
}

func (p *binaryProtocol) WriteI64(_ context.Context, value int64) error {
	b, err := p.out.space(8)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint64(b, uint64(value))
	return nil
}

func (p *binaryProtocol) WriteDouble(ctx context.Context, value float64) error {
	return p.WriteI64(ctx, int64(math.Float64bits(value)))
}

func (p *binaryProtocol) WriteString(ctx context.Context, value string) error {
	if err := checkWrite(len(value)); err != nil {
		return err
	}
	if err := p.WriteI32(ctx, int32(len(value))); err != nil {
		return err
	}
	return p.out.writeString(value)
}

// WriteBinary keeps a reference to a long value until Flush.
func (p *binaryProtocol) WriteBinary(ctx context.Context, value []byte) error {
	if err := checkWrite(len(value)); err != nil {
		return err
	}
	if err := p.WriteI32(ctx, int32(len(value))); err != nil {
		return err
	}
	return p.out.writeBytes(value)
}

func (p *binaryProtocol) WriteUUID(_ context.Context, value thrift.Tuuid) error {
	return p.out.copyBytes(value[:])
}

// checkWrite returns an error for a length that the wire cannot hold.
func checkWrite(n int) error {
	if n > math.MaxInt32 {
		return sizeLimit("string of %d bytes, at most %d", n, math.MaxInt32)
	}
	return nil
}

// These write nothing.

func (p *binaryProtocol) WriteMessageEnd(context.Context) error          { return nil }
func (p *binaryProtocol) WriteStructBegin(context.Context, string) error { return nil }
func (p *binaryProtocol) WriteStructEnd(context.Context) error           { return nil }
func (p *binaryProtocol) WriteFieldEnd(context.Context) error            { return nil }
func (p *binaryProtocol) WriteMapEnd(context.Context) error              { return nil }
func (p *binaryProtocol) WriteListEnd(context.Context) error             { return nil }
func (p *binaryProtocol) WriteSetEnd(context.Context) error              { return nil }
