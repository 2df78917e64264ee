package thrift

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote"
	kitexthrift "github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/pkg/serviceinfo"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/codec/thrift/internal/compiled"
)

// DefaultPinRatio is how many times a string's length the frame may be that the string is a part of.
const DefaultPinRatio = compiled.DefaultPinRatio

// NewPayloadCodec returns the codec, for server.WithPayloadCodec and client.WithPayloadCodec; the
// suites of package transport bring one by default. It may be used by any number of servers and
// clients at a time.
func NewPayloadCodec(opts ...Option) remote.PayloadCodec {
	c := &payloadCodec{limits: binary.DefaultLimits(), kitex: kitexthrift.NewThriftCodec()}
	c.scanners.New = func() any { return new(binary.Scanner) }
	for _, opt := range opts {
		opt(c)
	}
	c.options.Limits, c.options.WholeFrame = &c.limits, true
	return c
}

// payloadCodec implements remote.PayloadCodec.
type payloadCodec struct {
	// immutable after NewPayloadCodec
	limits   binary.Limits
	options  compiled.Options
	fallback remote.PayloadCodec // nil: what is registered with Kitex
	kitex    remote.PayloadCodec // if nothing else is
	families []Family

	methods  names
	plans    plans
	scanners sync.Pool // of *binary.Scanner
}

// Name implements remote.PayloadCodec.
func (c *payloadCodec) Name() string { return serviceinfo.Thrift.String() }

// String describes the codec in Kitex's diagnosis.
func (c *payloadCodec) String() string {
	return fmt.Sprintf("kiteline/codec/thrift(%+v)", c.limits)
}

// kitexCodec returns the codec for what this one does not read or write.
func (c *payloadCodec) kitexCodec(m remote.Message) (remote.PayloadCodec, error) {
	if c.fallback != nil && m.RPCInfo().Config().PayloadCodec() == serviceinfo.Thrift {
		return c.fallback, nil
	}
	// A message without a codec gets the one that is registered for its kind of payload.
	own := m.PayloadCodec()
	m.SetPayloadCodec(nil)
	registered, err := remote.GetPayloadCodec(m)
	m.SetPayloadCodec(own)
	if m.RPCInfo().Config().PayloadCodec() == serviceinfo.Thrift && (err != nil || registered == remote.PayloadCodec(c)) {
		return c.kitex, nil // nothing is registered, or this codec, which would ask itself
	}
	return registered, err
}

func (c *payloadCodec) kitexUnmarshal(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	k, err := c.kitexCodec(m)
	if err != nil {
		return err
	}
	return k.Unmarshal(ctx, m, in)
}

func (c *payloadCodec) kitexMarshal(ctx context.Context, m remote.Message, out remote.ByteBuffer) error {
	k, err := c.kitexCodec(m)
	if err != nil {
		return err
	}
	return k.Marshal(ctx, m, out)
}

// planFor returns how values of v's type are read and written.
func (c *payloadCodec) planFor(v any) *plan { return c.plans.of(reflect.TypeOf(v), c.families) }
