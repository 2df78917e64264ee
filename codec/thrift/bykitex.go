package thrift

import (
	"context"

	"github.com/cloudwego/kitex/pkg/remote"

	wire "github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
)

// unmarshalByKitex has Kitex's codec, or the fallback, read the message, once it is there as a whole and was walked:
// those readers take memory for what a message announces and follow its nesting without bound. They get
// the message alone, so that they cannot read into the next one, nor leave a part of this one to it.
func (c *payloadCodec) unmarshalByKitex(ctx context.Context, p *plan, m remote.Message, h header, in remote.ByteBuffer) error {
	if n := m.PayloadLen(); n > c.limits.MaxFrame {
		return refuse(errFrame(n, c.limits.MaxFrame))
	}
	message, err := c.takeMessage(p, m.PayloadLen(), h, in)
	if err != nil {
		return refuseUnlessLost(err, m)
	}
	body := message[h.size:]
	n := 0
	if p.generic && p != c.raw {
		n, err = charge.Generic(m.Data(), h.name, m.PayloadLen()).Walk(body, &c.limits)
	} else {
		n, err = p.validate(body, &c.limits)
	}
	if err == nil {
		err = checkEnd(n, len(body))
	}
	if err != nil {
		return refuse(err)
	}
	alone := remote.NewReaderBuffer(message)
	err = c.kitexUnmarshal(ctx, m, alone)
	_ = alone.Release(err) // of memory: it cannot fail
	return err
}

// takeMessage takes the message with its header. payload is as for peekHeader.
func (c *payloadCodec) takeMessage(p *plan, payload int, h header, in remote.ByteBuffer) ([]byte, error) {
	if payload > 0 {
		return takeFrame(in, payload)
	}
	s := c.scanners.Get().(*wire.Scanner)
	defer c.scanners.Put(s)
	s.Reset(&c.limits, h.size, c.limits.MaxFrame)
	if p.generic {
		s.AcceptVoid()
	}
	return takeStruct(in, s)
}
