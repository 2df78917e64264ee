package thrift

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/remote"
	kitexthrift "github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/pkg/serviceinfo"

	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
	"github.com/kiteline/kiteline/codec/thrift/internal/compiled"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// NewPayloadCodec returns the codec, for server.WithPayloadCodec and client.WithPayloadCodec; the
// suites of package transport bring one by default. It may be used by any number of servers and
// clients at a time.
func NewPayloadCodec(cfg Config) remote.PayloadCodec {
	c := &payloadCodec{
		limits:   cfg.Limits.resolved(),
		options:  compiled.Options{CopyStrings: cfg.CopyStrings, PinRatio: max(cfg.PinRatio, 0), WholeFrame: true},
		fallback: cfg.Fallback,
		families: slices.Clone(cfg.Families),
		kitex:    registeredCodec(serviceinfo.Thrift),
		protobuf: registeredCodec(serviceinfo.Protobuf),
	}
	c.options.Limits = &c.limits
	if c.kitex == nil {
		c.kitex = kitexthrift.NewThriftCodec()
	}
	c.scanners.New = func() any { return new(tbinary.Scanner) }
	if c.fallback != nil && reflect.TypeOf(c.fallback) == rawCodec() {
		c.raw = &plan{costs: &charge.Bytes, generic: true}
	}
	return c
}

// rawCodec returns the type of the payload codec that generic.BinaryThriftGeneric sets. That codec
// reads only the method's name of a message.
func rawCodec() reflect.Type {
	g, ok := generic.BinaryThriftGeneric().(interface{ PayloadCodec() remote.PayloadCodec })
	if !ok {
		panic("thrift: BUG: Kitex's binary generic calls have no payload codec")
	}
	return reflect.TypeOf(g.PayloadCodec())
}

// payloadCodec implements remote.PayloadCodec.
type payloadCodec struct {
	// immutable after NewPayloadCodec
	limits   tbinary.Limits
	options  compiled.Options
	fallback remote.PayloadCodec // the user's, for Thrift; nil: kitex
	kitex    remote.PayloadCodec // for Thrift: the codec registered with Kitex, or Kitex's own
	protobuf remote.PayloadCodec // the codec registered with Kitex; nil: none
	families []Family
	raw      *plan // of all messages if the fallback passes their bytes on; else nil

	methods  names
	plans    plans
	scanners sync.Pool // of *tbinary.Scanner
}

// Name implements remote.PayloadCodec.
func (c *payloadCodec) Name() string { return serviceinfo.Thrift.String() }

// String describes the codec in Kitex's diagnosis.
func (c *payloadCodec) String() string {
	return fmt.Sprintf("kiteline/codec/thrift(%+v)", c.limits)
}

// kitexCodec returns the codec for what this one does not read or write. Kitex keeps registered
// codecs in a map without a lock, and servers that are built meanwhile write to it. So
// NewPayloadCodec looked up the codecs that servers can register; they are the same for all
// messages.
func (c *payloadCodec) kitexCodec(m remote.Message) (remote.PayloadCodec, error) {
	switch kind := m.RPCInfo().Config().PayloadCodec(); {
	case kind == serviceinfo.Thrift && c.fallback != nil:
		return c.fallback, nil
	case kind == serviceinfo.Thrift:
		return c.kitex, nil
	case kind == serviceinfo.Protobuf && c.protobuf != nil:
		return c.protobuf, nil
	}
	// A message without a codec gets the one that is registered for its kind of payload.
	own := m.PayloadCodec()
	m.SetPayloadCodec(nil)
	registered, err := remote.GetPayloadCodec(m)
	m.SetPayloadCodec(own)
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

// planFor returns the plan for values of v's type.
func (c *payloadCodec) planFor(v any) *plan { return c.plans.of(reflect.TypeOf(v), c.families) }
