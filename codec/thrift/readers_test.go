package thrift

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	frugal "github.com/kiteline/kiteline/idl/kitex_gen/frugal/echo"
	"github.com/kiteline/kiteline/internal/handwritten"
)

// reader is code that reads the messages of idl/echo.thrift.
type reader struct {
	name              string
	newArgs, newReply func(method string) any // of Echo or Find; nil: none
}

// echoIDL is where the IDL of the generic readers is.
const echoIDL = "../../idl/echo.thrift"

// readers returns all code that reads messages, this module's and Kitex's.
func readers(t testing.TB) []reader {
	all := []reader{
		{"compiled", func(string) any { return &echo.EchoServiceEchoArgs{} }, func(method string) any {
			if method == "Find" {
				return &echo.EchoServiceFindResult{}
			}
			return &echo.EchoServiceEchoResult{}
		}},
		{"FastCodec", func(string) any { return new(handwritten.FastArgs) }, func(string) any { return new(handwritten.FastResult) }},
		{"hand-written", func(string) any { return new(handwritten.Args) }, func(string) any { return new(handwritten.Result) }},
		{"frugal", func(string) any { return &frugal.EchoServiceEchoArgs{} }, func(method string) any {
			if method == "Find" {
				return &frugal.EchoServiceFindResult{}
			}
			return &frugal.EchoServiceEchoResult{}
		}},
	}
	for _, g := range []struct {
		name string
		make func() (generic.Generic, error)
	}{
		{"JSON", func() (generic.Generic, error) { return generic.JSONThriftGeneric(plainIDL(t)) }},
		{"JSON with dynamicgo", func() (generic.Generic, error) { return generic.JSONThriftGeneric(dynamicIDL(t)) }},
		{"map", func() (generic.Generic, error) { return generic.MapThriftGeneric(plainIDL(t)) }},
		{"map with all fields", func() (generic.Generic, error) {
			g, err := generic.MapThriftGeneric(plainIDL(t))
			if err == nil {
				err = generic.EnableSetFieldsForEmptyStruct(g, generic.SetAllFields)
			}
			return g, err
		}},
		{"map for JSON", func() (generic.Generic, error) { return generic.MapThriftGenericForJSON(plainIDL(t)) }},
		{"HTTP", func() (generic.Generic, error) { return generic.HTTPThriftGeneric(plainIDL(t)) }},
		{"HTTP with dynamicgo", func() (generic.Generic, error) {
			return generic.HTTPThriftGeneric(dynamicIDL(t), generic.UseRawBodyForHTTPResp(true))
		}},
		{"binary", func() (generic.Generic, error) { return generic.BinaryThriftGenericV2("EchoService"), nil }},
	} {
		made, err := g.make()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = made.Close() })
		methods := made.GenericMethod()
		of := func(method string) serviceinfo.MethodInfo { return methods(context.Background(), method) }
		all = append(all, reader{
			g.name,
			func(method string) any { return of(method).NewArgs() },
			func(method string) any { return of(method).NewResult() },
		})
	}
	return all
}

func plainIDL(t testing.TB) generic.DescriptorProvider {
	t.Helper()
	p, err := generic.NewThriftFileProvider(echoIDL)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func dynamicIDL(t testing.TB) generic.DescriptorProvider {
	t.Helper()
	p, err := generic.NewThriftFileProviderWithDynamicGo(echoIDL)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// messageOf returns a message with a header.
func messageOf(kind thrift.TMessageType, method string, body []byte) []byte {
	b := make([]byte, thrift.Binary.MessageBeginLength(method), thrift.Binary.MessageBeginLength(method)+len(body))
	thrift.Binary.WriteMessageBegin(b, method, kind, 7)
	return append(b, body...)
}

func inFrame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

func inTTHeader(payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(14+len(payload)))
	return append(append(b, 0x10, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0), payload...)
}

// forms are the forms that a message can have.
var forms = []struct {
	name string
	of   func(message []byte) []byte
}{
	{"unframed", func(message []byte) []byte { return message }},
	{"framed", inFrame},
	{"TTHeader", inTTHeader},
	{"framed in TTHeader", func(message []byte) []byte { return inTTHeader(inFrame(message)) }},
}

// decodeAs reads b as the arguments or the reply of a call of method into data, with payload codec
// pc; nil stands for Kitex's codec.
func decodeAs(pc remote.PayloadCodec, kind remote.MessageType, method string, b []byte, data any) error {
	invocation := rpcinfo.NewInvocation("EchoService", method)
	newData := func() any { return data }
	invocation.SetMethodInfo(serviceinfo.NewMethodInfo(nil, newData, newData, false))
	invocation.SetSeqID(7)
	peer := rpcinfo.NewEndpointInfo("echo", method, nil, nil)
	ri := rpcinfo.NewRPCInfo(peer, peer, invocation, rpcinfo.NewRPCConfig(), rpcinfo.NewRPCStats())
	cfg := rpcinfo.AsMutableRPCConfig(ri.Config())
	_ = cfg.SetTransportProtocol(transport.PurePayload)
	cfg.SetPayloadCodec(serviceinfo.Thrift)
	m := remote.NewMessage(data, ri, kind, remote.Client)
	m.SetPayloadCodec(pc)
	in := remote.NewReaderBuffer(b)
	err := codec.NewDefaultCodec().Decode(context.Background(), m, in)
	if err == nil && in.ReadableLen() > 0 {
		err = fmt.Errorf("%d bytes are left to the next message", in.ReadableLen())
	}
	return err
}
