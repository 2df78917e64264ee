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

// headerRoom is for what precedes a message's payload: the prefixes of frames and a TTHeader of the
// greatest length. Unframed messages are looked at in chunks of 64 KiB, which may reach beyond
// their end.
const headerRoom = 512 << 10

// WithKitexCodec leaves Thrift payloads to Kitex's codec. Without it the suites bring
// codec/thrift's, unless the program has chosen one: by WithPayloadCodec, before the suite or after
// it. The limit of WithMaxFrame holds with any codec, that of codec/thrift and its limits inside a
// message only with that.
func WithKitexCodec() Option {
	return setting(optionKitexCodec, func(s *settings) { s.kitexCodec = true })
}

// WithMaxFrame limits how many bytes the payload of a request or a reply may have that is read:
// 16,384,000 by default, no limit but that of MuxConfig if n is negative. With codec/thrift a
// longer message is a *thrift.Error of the kind TooLarge, with other codecs ErrMessageTooLarge,
// which counts the message's headers and allows 512 KiB for them. Its connection is closed, and on
// a server an exception is sent first if the method is known by then. What is sent has no limit.
func WithMaxFrame(n int) Option {
	return setting(optionMaxFrame, func(s *settings) { s.maxFrame = n })
}

// maxRead returns how many bytes of a message the transport hands out, zero for any number.
func (s *settings) maxRead() int {
	switch {
	case s.maxFrame < 0:
		return 0
	case s.maxFrame == 0:
		return thrift.DefaultMaxFrame + headerRoom
	}
	return s.maxFrame + headerRoom
}

// setPayloadCodec sets what Kitex keeps in at, unless the user has. Of two suites the later counts.
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
	opts := []thrift.Option{thrift.WithLimits(limits)}
	if given != nil {
		opts = append(opts, thrift.WithFallback(given))
	}
	*at = suiteCodec{thrift.NewPayloadCodec(opts...), given}
}

// readsAnything reports whether c is the payload codec that generic.BinaryThriftGeneric sets,
// before the suite: it takes memory for what a frame announces, and hands out what it holds unread.
// The suite's codec checks messages for it.
func readsAnything(c remote.PayloadCodec) bool {
	g, ok := generic.BinaryThriftGeneric().(interface{ PayloadCodec() remote.PayloadCodec })
	return ok && reflect.TypeOf(c) == reflect.TypeOf(g.PayloadCodec())
}

// suiteCodec is the payload codec that a suite brought, as opposed to one of the user's.
type suiteCodec struct {
	remote.PayloadCodec
	given remote.PayloadCodec // that of a binary generic call, which it checks messages for; nil: none
}

// yieldsToKitex reports whether a server with payload codec c uses the one that is registered
// with Kitex instead. server.WithPayloadCodec registers a codec of Kitex's own for the process, say
// for Frugal, and leaves the server's as it is. Kitex keeps those codecs in a map without a lock,
// so this is asked where servers are built, and not when one starts.
func yieldsToKitex(c remote.PayloadCodec) bool {
	if ours, ok := c.(suiteCodec); !ok || ours.given != nil {
		return false
	}
	registered, err := remote.GetPayloadCodec(thriftMessage{})
	return err == nil && !reflect.DeepEqual(registered, kitexthrift.NewThriftCodec())
}

// registersThriftCodec reports whether an option of the server's has registered a codec as
// yieldsToKitex looks for, before the suite or after it. Only Kitex's diagnosis tells which options
// there were.
func registersThriftCodec(o *server.Options) bool {
	if o == nil {
		return false
	}
	const told = "ResetThriftPayloadCodec("
	options := fmt.Sprintf("%+v", o.DebugInfo)
	byDefault := fmt.Sprintf(told+"%+v)", kitexthrift.NewThriftCodec())
	return strings.Count(options, told) > strings.Count(options, byDefault)
}

// thriftMessage is as much of a message as remote.GetPayloadCodec asks for: one whose payload is
// Thrift, without a codec of its own.
type thriftMessage struct{ remote.Message }

func (thriftMessage) PayloadCodec() remote.PayloadCodec { return nil }
func (thriftMessage) RPCInfo() rpcinfo.RPCInfo          { return thriftCall{} }

type thriftCall struct{ rpcinfo.RPCInfo }

func (thriftCall) Config() rpcinfo.RPCConfig { return thriftConfig{} }

type thriftConfig struct{ rpcinfo.RPCConfig }

func (thriftConfig) PayloadCodec() serviceinfo.PayloadCodec { return serviceinfo.Thrift }
