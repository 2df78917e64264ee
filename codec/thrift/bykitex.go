package thrift

import (
	"context"
	"fmt"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// unmarshalByKitex lets Kitex's codec, or the fallback, read the message once it is complete and
// checked: those readers take memory for what a message announces and follow its nesting without
// bound. They get the message alone, so that they can neither read into the next message nor leave
// a part of this one to it.
func (c *payloadCodec) unmarshalByKitex(ctx context.Context, p *plan, m remote.Message, h header, in remote.ByteBuffer) error {
	if n := m.PayloadLen(); n > c.limits.MaxFrame {
		return refuse(errFrame(n, c.limits.MaxFrame))
	}
	message, err := c.takeMessage(p, m.PayloadLen(), h, in)
	if err != nil {
		return refuseUnlessLost(err, m)
	}
	body := message[h.size:]
	n, err := c.check(p, m, h, body)
	if err == nil {
		err = checkEnd(n, len(body))
	}
	if err != nil {
		return refuse(err)
	}
	alone := remote.NewReaderBuffer(message)
	err = c.recovered(ctx, m, alone)
	_ = alone.Release(err) // of memory: it cannot fail
	return err
}

// check returns how many bytes the struct at the start of body takes, if m's reader may get it.
func (c *payloadCodec) check(p *plan, m remote.Message, h header, body []byte) (int, error) {
	if !p.generic || p == c.raw {
		return p.validate(body, &c.limits)
	}
	r, err := charge.Generic(m.Data(), h.name, m.PayloadLen())
	if err != nil {
		return 0, err
	}
	return r.Walk(body, &c.limits)
}

// recovered lets Kitex's codec read the message, and refuses the message if that panics: Kitex's
// readers panic at some well-formed values. A stack overflow would still end the process, which is
// why messages are checked first.
func (c *payloadCodec) recovered(ctx context.Context, m remote.Message, in remote.ByteBuffer) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = refuse(panicked(v))
		}
	}()
	return c.kitexUnmarshal(ctx, m, in)
}

// panicked returns the error of a message whose reader panicked with v.
func panicked(v any) error {
	if err, ok := v.(error); ok {
		return &Error{Kind: BadValue, Offset: -1, Detail: "its reader panicked", Err: err}
	}
	return newError(BadValue, -1, fmt.Sprintf("its reader panicked: %v", v))
}

// takeMessage takes the message with its header. payload is as for peekHeader.
func (c *payloadCodec) takeMessage(p *plan, payload int, h header, in remote.ByteBuffer) ([]byte, error) {
	if payload > 0 {
		return takeFrame(in, payload)
	}
	s := c.scanners.Get().(*tbinary.Scanner)
	defer c.scanners.Put(s)
	s.Reset(&c.limits, h.size, c.limits.MaxFrame)
	if p.generic {
		s.AcceptVoid()
	}
	return takeStruct(in, s)
}
