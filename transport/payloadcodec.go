package transport

import (
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/remote"
	kitexthrift "github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/codec/thrift"
)

// headerRoom is room for what precedes a message's payload: the prefixes of frames and a TTHeader
// of the greatest length. It also covers unframed messages: the codec looks at them in chunks of 64
// KiB, which may reach beyond their end.
const headerRoom = 512 << 10

// WithKitexCodec leaves Thrift payloads to Kitex's codec. Without it the suites bring that of
// codec/thrift, unless the program chooses one with WithPayloadCodec, before the suite or after it.
// The limit of WithMaxFrame holds with any codec. The limits of codec/thrift inside a message hold
// only with codec/thrift.
func WithKitexCodec() Option {
	return forBoth{optionKitexCodec, func(s *settings) { s.kitexCodec = true }}
}

// WithMaxFrame limits the payload of each request or reply that is read to n bytes. Zero means the
// default, 16,384,000. Negative means no limit: only that of pool.MuxConfig remains. With
// codec/thrift a longer message fails with a *thrift.Error of the kind TooLarge. With other codecs
// it fails with ErrMessageTooLarge, and the limit counts the message's headers too but allows 512
// KiB for them. The connection is closed; a server first sends an exception if it knows the method
// by then. Sent messages have no limit.
func WithMaxFrame(n int) Option {
	return forBoth{optionMaxFrame, func(s *settings) { s.maxFrame = n }}
}

// maxRead returns how many bytes of a message the transport hands out, zero for any number.
func (s *settings) maxRead() int {
	switch {
	case s.maxFrame < 0:
		return 0
	case s.maxFrame == 0:
		return thrift.DefaultMaxFrame + headerRoom
	}
	return withHeaders(s.maxFrame)
}

// withHeaders returns how long a message with a payload of n bytes may be.
func withHeaders(n int) int { return min(n, math.MaxInt-headerRoom) + headerRoom }

// setPayloadCodec sets *at, the client's or server's payload codec, unless the user has. Of two
// suites the later one counts.
func (s *settings) setPayloadCodec(at *remote.PayloadCodec) {
	given := *at
	if ours, ok := given.(suiteCodec); ok {
		given = ours.given
	}
	*at = given
	if s.kitexCodec || given != nil && !readsAnything(given) {
		return
	}
	limits := thrift.Limits{MaxFrame: s.maxFrame}
	if s.maxFrame < 0 {
		limits.MaxFrame = math.MaxInt
	}
	*at = suiteCodec{thrift.NewPayloadCodec(thrift.Config{Limits: limits, Fallback: given}), given}
}

// readsAnything reports whether c is the payload codec that generic.BinaryThriftGeneric sets,
// before the suite. That codec takes memory for the length a frame announces, and hands the bytes
// out unread. The suite's codec checks messages for it.
func readsAnything(c remote.PayloadCodec) bool {
	g, ok := generic.BinaryThriftGeneric().(interface{ PayloadCodec() remote.PayloadCodec })
	return ok && reflect.TypeOf(c) == reflect.TypeOf(g.PayloadCodec())
}

// suiteCodec is a payload codec that a suite brought, as opposed to the user's.
type suiteCodec struct {
	remote.PayloadCodec
	given remote.PayloadCodec // that of binary generic calls, if there is one
}

// yieldsToKitex reports whether a server with payload codec c uses the one that is registered with
// Kitex instead. server.WithPayloadCodec registers a codec of Kitex's own, say for Frugal, for the
// whole process, and leaves the server's as it is. Kitex keeps those codecs in a map without a
// lock, so they are looked up when a server is built, not when it starts.
func yieldsToKitex(c remote.PayloadCodec) bool {
	if ours, ok := c.(suiteCodec); !ok || ours.given != nil {
		return false
	}
	registered, err := remote.GetPayloadCodec(thriftMessage{})
	return err == nil && !reflect.DeepEqual(registered, kitexthrift.NewThriftCodec())
}

// registersThriftCodec reports whether an option of the server, before the suite or after it, has
// registered a codec of the kind that yieldsToKitex looks for. Only Kitex's diagnosis tells which
// options there were.
func registersThriftCodec(o *server.Options) bool {
	if o == nil {
		return false
	}
	const told = "ResetThriftPayloadCodec("
	options := fmt.Sprintf("%+v", o.DebugInfo)
	byDefault := fmt.Sprintf(told+"%+v)", kitexthrift.NewThriftCodec())
	return strings.Count(options, told) > strings.Count(options, byDefault)
}

// thriftMessage is as much of a message as remote.GetPayloadCodec looks at: its payload is Thrift,
// and it has no codec of its own.
type thriftMessage struct{ remote.Message }

func (thriftMessage) PayloadCodec() remote.PayloadCodec { return nil }
func (thriftMessage) RPCInfo() rpcinfo.RPCInfo          { return thriftCall{} }

type thriftCall struct{ rpcinfo.RPCInfo }

func (thriftCall) Config() rpcinfo.RPCConfig { return thriftConfig{} }

type thriftConfig struct{ rpcinfo.RPCConfig }

func (thriftConfig) PayloadCodec() serviceinfo.PayloadCodec { return serviceinfo.Thrift }
