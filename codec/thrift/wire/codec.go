package wire

import (
	"context"
	"fmt"

	"github.com/cloudwego/kitex/pkg/remote"
	kitexcodec "github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/codec/perrors"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/theader"
)

// NewCodec returns the codec, for server.WithCodec. It may be used by any number of servers at a
// time.
func NewCodec(cfg Config) remote.Codec {
	c := &codec{kitex: cfg.Codec, limits: resolved(cfg.Limits), replies: replyLimits()}
	if c.kitex == nil {
		c.kitex = kitexcodec.NewDefaultCodec()
	}
	c.meta, _ = c.kitex.(remote.MetaDecoder)
	return c
}

// codec implements remote.Codec. Immutable after NewCodec.
type codec struct {
	kitex   remote.Codec
	meta    remote.MetaDecoder // kitex, or nil if it decodes in one go
	limits  tbinary.Limits     // for requests
	replies tbinary.Limits
}

var (
	_ remote.Codec       = (*codec)(nil)
	_ remote.MetaDecoder = (*codec)(nil)
)

// Name implements remote.Codec.
func (c *codec) Name() string { return "kiteline/wire+" + c.kitex.Name() }

// Decode implements remote.Codec.
func (c *codec) Decode(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if err := c.DecodeMeta(ctx, m, in); err != nil {
		return err
	}
	return c.DecodePayload(ctx, m, in)
}

// DecodeMeta implements remote.MetaDecoder: it reads what precedes the message itself.
func (c *codec) DecodeMeta(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if m.RPCRole() == remote.Server {
		start, err := in.Peek(sniffBytes)
		if err != nil {
			return readFailed(err)
		}
		if f := sniff(start); f != formKitex {
			return c.begin(f, m, in)
		}
	}
	if c.meta == nil {
		return nil
	}
	return c.meta.DecodeMeta(ctx, m, in)
}

// DecodePayload implements remote.MetaDecoder.
func (c *codec) DecodePayload(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if x := exchangeOf(m); x != nil {
		err := c.decode(ctx, x, m, in)
		if s := statsOf(m); s != nil {
			s.SetRecvSize(uint64(in.ReadLen()))
		}
		return err
	}
	if c.meta == nil {
		return c.kitex.Decode(ctx, m, in)
	}
	return c.meta.DecodePayload(ctx, m, in)
}

// Encode implements remote.Codec.
func (c *codec) Encode(ctx context.Context, m remote.Message, out remote.ByteBuffer) error {
	x := exchangeOf(m)
	if x == nil {
		return c.kitex.Encode(ctx, m, out)
	}
	err := c.encode(ctx, x, m, out)
	if s := statsOf(m); s != nil {
		s.SetSendSize(uint64(out.WrittenLen()))
	}
	return err
}

// form is the outer form of a message.
type form uint8

const (
	formKitex   form = iota // left to Kitex's codec
	formBare                // compact, without a frame
	formFramed              // compact, in a frame
	formTHeader             // THeader
)

// sniffBytes is how many bytes tell the forms apart. It is also the length of the shortest message.
const sniffBytes = 6

// sniff returns the form of the message that begins with b. If the first bytes are a length, their
// highest bit is clear, which is not so in Kitex's other forms.
func sniff(b []byte) form {
	switch {
	case compact.IsMessage(b):
		return formBare
	case b[0] >= 0x80:
		return formKitex
	case compact.IsMessage(b[lengthBytes:]):
		return formFramed
	case theader.IsFrame(b):
		return formTHeader
	}
	return formKitex
}

// statsOf returns where the sizes of messages are recorded, or nil.
func statsOf(m remote.Message) rpcinfo.MutableRPCStats {
	return rpcinfo.AsMutableRPCStats(m.RPCInfo().Stats())
}

// readFailed wraps an error of the connection as Kitex's codec does: Kitex looks for the error
// inside.
func readFailed(err error) error {
	return perrors.NewProtocolErrorWithErrMsg(err, fmt.Sprintf("kiteline: reading a message failed: %s", err))
}
