package thrift

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/codec/perrors"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/pkg/stats"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

const (
	headerBytes = 12 // of a message, without the method's name
	nameOffset  = 8

	// maxNameBytes bounds the name of a method, which is read before the message is complete.
	maxNameBytes = 64 << 10
)

// header is the beginning of a message.
type header struct {
	name     string
	known    bool // the name is a method's
	kind     int32
	sequence int32
	size     int // its length; not consumed yet
}

// Unmarshal implements remote.PayloadCodec. It consumes nothing of a message before it is certain
// that the message belongs to the call or the service.
func (c *payloadCodec) Unmarshal(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if m.RPCInfo().Config().PayloadCodec() != serviceinfo.Thrift {
		return c.kitexUnmarshal(ctx, m, in)
	}
	if err := checkFraming(m); err != nil {
		return protocolError(err)
	}
	h, err := c.peekHeader(m.PayloadLen(), in)
	if err != nil {
		return protocolError(err)
	}
	if c.raw != nil {
		return c.unmarshalByKitex(ctx, c.raw, m, h, in)
	}
	if err := codec.UpdateMsgType(uint32(h.kind), m); err != nil {
		return err
	}
	if m.MessageType() == remote.Exception {
		return c.unmarshalException(m, h, in)
	}
	if err := c.accept(ctx, m, h); err != nil {
		return err
	}
	p := c.planFor(m.Data())
	rpcinfo.Record(ctx, m.RPCInfo(), stats.WaitReadStart, nil)
	if p.read == viaKitex || p.forFrugal && p.write == viaKitex && c.fallback != nil {
		err = c.unmarshalByKitex(ctx, p, m, h, in)
	} else {
		err = c.unmarshalData(p, m, h, in)
	}
	rpcinfo.Record(ctx, m.RPCInfo(), stats.WaitReadFinish, err)
	return err
}

// checkFraming refuses a message whose headers announce an empty payload, or one of negative
// length: Kitex would read it as a message of unknown length.
func checkFraming(m remote.Message) error {
	framed := m.RPCInfo().Config().TransportProtocol()&transport.TTHeaderFramed != 0
	if n := m.PayloadLen(); n < 0 || framed && n == 0 {
		return newError(BadHeader, -1, fmt.Sprintf("payload of %d bytes", n))
	}
	return nil
}

// peekHeader waits for the message's header. payload is the length of the message, 0 if it is not
// known.
func (c *payloadCodec) peekHeader(payload int, in remote.ByteBuffer) (h header, err error) {
	if 0 < payload && payload < headerBytes {
		return h, newError(Truncated, payload, "")
	}
	start, err := in.Peek(nameOffset)
	if err != nil {
		return h, err
	}
	limit := maxNameBytes
	if payload > 0 {
		limit = min(limit, payload-headerBytes)
	}
	n := int(int32(binary.BigEndian.Uint32(start[4:])))
	switch {
	case n < 0:
		return h, newError(NegativeLength, 4, fmt.Sprintf("method's name of %d bytes", n))
	case n > limit:
		return h, newError(TooLarge, 4, fmt.Sprintf("method's name of %d bytes, at most %d", n, limit))
	}
	if start, err = in.Peek(headerBytes + n); err != nil {
		return h, err
	}
	m, size, err := tbinary.MessageHeader(start)
	if err != nil {
		return h, err
	}
	h = header{kind: m.Type, sequence: m.Sequence, size: size}
	h.name, h.known = c.methods.of(m.Name)
	return h, nil
}

// accept checks that m is a message of the call or of the service, and prepares its data. The order
// of its steps is that of Kitex's codec, so that the errors are the same.
func (c *payloadCodec) accept(ctx context.Context, m remote.Message, h header) error {
	if err := codec.SetOrCheckSeqID(h.sequence, m); err != nil {
		return err
	}
	if err := codec.SetOrCheckMethodName(ctx, h.name, m); err != nil {
		return err
	}
	if !h.known {
		c.methods.add(h.name)
	}
	return codec.NewDataIfNeeded(h.name, m)
}

// unmarshalData reads the arguments or the result.
func (c *payloadCodec) unmarshalData(p *plan, m remote.Message, h header, in remote.ByteBuffer) error {
	if n := m.PayloadLen(); n > c.limits.MaxFrame {
		return refuse(errFrame(n, c.limits.MaxFrame))
	}
	frame, err := c.takeBody(m.PayloadLen(), h, in)
	if err != nil {
		return refuseUnlessLost(err, m)
	}
	n, err := p.decode(frame, m.Data(), &c.options)
	if err == nil {
		err = checkEnd(n, len(frame))
	}
	if err != nil {
		return refuse(err)
	}
	return nil
}

// takeBody takes the bytes after the header. payload is as for peekHeader.
func (c *payloadCodec) takeBody(payload int, h header, in remote.ByteBuffer) ([]byte, error) {
	if err := in.Skip(h.size); err != nil {
		return nil, err
	}
	if payload > 0 {
		return takeFrame(in, payload-h.size)
	}
	s := c.scanners.Get().(*tbinary.Scanner)
	defer c.scanners.Put(s)
	s.Reset(&c.limits, 0, c.limits.MaxFrame-h.size)
	return takeStruct(in, s)
}

// checkEnd reports an error unless the message of size bytes ends after n of them.
func checkEnd(n, size int) error {
	if n == size {
		return nil
	}
	return newError(TrailingBytes, n, fmt.Sprintf("%d bytes", size-n))
}

// refuseUnlessLost refuses a message that was not received whole. If the connection ended inside a
// message of unknown length, it returns that error as it is, as Kitex's codec does.
func refuseUnlessLost(err error, m remote.Message) error {
	err = public(err)
	if m.PayloadLen() == 0 && !errors.As(err, new(*Error)) {
		return err
	}
	return refuse(err)
}

// protocolError returns err as Kitex's codec does for a message whose call is not known.
func protocolError(err error) error { return perrors.NewProtocolError(public(err)) }

// refuse returns err as an error that Kitex reports to the peer before it closes the connection.
func refuse(err error) error {
	var already *remote.TransError
	if errors.As(err, &already) {
		return already
	}
	return remote.NewTransError(remote.ProtocolError, public(err))
}
