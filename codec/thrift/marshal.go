package thrift

import (
	"context"
	"errors"
	"reflect"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/serviceinfo"

	"github.com/kiteline/kiteline/transport/buffer"
)

var errNoMethod = errors.New("kiteline: message without a method's name")

// Marshal implements remote.PayloadCodec.
func (c *payloadCodec) Marshal(ctx context.Context, m remote.Message, out remote.ByteBuffer) error {
	if m.RPCInfo().Config().PayloadCodec() != serviceinfo.Thrift || m.MessageType() == remote.Exception {
		return c.kitexMarshal(ctx, m, out)
	}
	invocation := m.RPCInfo().Invocation()
	method := invocation.MethodName()
	if method == "" {
		return errNoMethod
	}
	if err := codec.NewDataIfNeeded(method, m); err != nil {
		return err
	}
	p := c.planFor(m.Data())
	if p.write == viaKitex || p.write == viaFast {
		return c.kitexMarshal(ctx, m, out)
	}
	write := func(w Writer) error {
		if err := writeHeader(w, method, m.MessageType(), invocation.SeqID()); err != nil {
			return err
		}
		return p.encode(w, m.Data())
	}
	if w, ok := out.(Writer); ok {
		return write(w)
	}
	return writeThrough(out, write)
}

// writeThrough lets write fill a buffer in memory and copies the bytes to out: another transport's
// buffer, which may lack methods of Writer.
func writeThrough(out remote.ByteBuffer, write func(w Writer) error) error {
	var memory buffer.LinkBuffer
	defer memory.Close() //nolint:errcheck // it gives memory back and cannot fail
	if err := write(&memory); err != nil {
		return err
	}
	if err := memory.Flush(); err != nil {
		return err
	}
	p, err := memory.ReadBinary(memory.Len())
	if err != nil {
		return err
	}
	_, err = out.WriteBinary(p)
	return err
}

func writeHeader(w Writer, method string, kind remote.MessageType, sequence int32) error {
	p, err := w.Malloc(thrift.Binary.MessageBeginLength(method))
	if err != nil {
		return err
	}
	thrift.Binary.WriteMessageBegin(p, method, thrift.TMessageType(kind), sequence)
	return nil
}

// encode appends v to w.
func (p *plan) encode(w Writer, v any) error {
	switch p.write {
	case viaFamily:
		return p.family.Marshal(w, v)
	case viaCompiled:
		return p.compiled.Encode(w, v)
	case viaFast:
		return fastWrite(w, v)
	}
	return &ValueError{Type: reflect.TypeOf(v)}
}

// fastWrite lets v write itself to w.
func fastWrite(w Writer, v any) error {
	msg := v.(thrift.FastCodec) //nolint:errcheck // planned so because it is one
	space, err := w.Malloc(msg.BLength())
	if err != nil {
		return err
	}
	// The space is for all of v. What v links goes before the rest, and that many bytes stay
	// unused.
	n := w.MallocLen()
	msg.FastWriteNocopy(space, w)
	return w.MallocAck(n)
}
