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
)

// reader is code that reads the messages of idl/echo.thrift.
type reader struct {
	name              string
	newArgs, newReply func(method string) any // of Echo or Find; nil if there is none
}

// echoIDL is where the IDL of the generic readers is.
const echoIDL = "../../idl/echo.thrift"

// readers returns every kind of code that reads messages, this module's and Kitex's.
func readers(t testing.TB) []reader {
	all := []reader{
		{"compiled", func(string) any { return &echo.EchoServiceEchoArgs{} }, func(method string) any {
			if method == "Find" {
				return &echo.EchoServiceFindResult{}
			}
			return &echo.EchoServiceEchoResult{}
		}},
		{"FastCodec", func(string) any { return new(fastArgs) }, func(string) any { return new(fastResult) }},
		{"hand-written", func(string) any { return new(handArgs) }, func(string) any { return new(handResult) }},
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

// fastArgs, fastResult have tags and their own FastRead, and no program: what they write is another message.
type (
	fastArgs struct {
		Request *echo.EchoRequest `frugal:"1,default,echo.EchoRequest"`
	}
	fastResult struct {
		Success *echo.EchoResponse `frugal:"0,optional,echo.EchoResponse"`
	}
)

func (*fastArgs) BLength() int                                          { return 1 }
func (*fastArgs) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int   { b[0] = 0; return 1 }
func (*fastResult) BLength() int                                        { return 1 }
func (*fastResult) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

func (a *fastArgs) FastRead(b []byte) (int, error) {
	var v echo.EchoServiceEchoArgs
	n, err := v.FastRead(b)
	a.Request = v.Request
	return n, err
}

func (r *fastResult) FastRead(b []byte) (int, error) {
	var v echo.EchoServiceEchoResult
	n, err := v.FastRead(b)
	r.Success = v.Success
	return n, err
}

// handArgs, handResult read by code that looks at the message's types and believes its counts.
type (
	handArgs    struct{ handStruct }
	handResult  struct{ handStruct }
	handMessage struct {
		text       string
		tags       []string
		recipients []int64
		attributes map[string]string
		attachment []byte
		replies    []*handMessage
	}
	handStruct struct{ message *handMessage }
)

func (*handStruct) BLength() int                                        { return 1 }
func (*handStruct) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

func (a *handArgs) FastRead(b []byte) (int, error)   { return a.read(b, 1) }
func (r *handResult) FastRead(b []byte) (int, error) { return r.read(b, 0) }

// read reads the message in field 1 of field id.
func (s *handStruct) read(b []byte, id int16) (int, error) {
	return eachField(b, func(t thrift.TType, field int16, b []byte) (int, error) {
		if field != id || t != thrift.STRUCT {
			return thrift.Binary.Skip(b, t)
		}
		return eachField(b, func(t thrift.TType, field int16, b []byte) (int, error) {
			if field != 1 || t != thrift.STRUCT {
				return thrift.Binary.Skip(b, t)
			}
			s.message = new(handMessage)
			return s.message.read(b)
		})
	})
}

// eachField calls read for each field of the struct that b begins with.
func eachField(b []byte, read func(t thrift.TType, id int16, b []byte) (int, error)) (off int, err error) {
	for {
		t, id, n, err := thrift.Binary.ReadFieldBegin(b[off:])
		if off += n; err != nil || t == thrift.STOP {
			return off, err
		}
		if n, err = read(t, id, b[off:]); err != nil {
			return off, err
		}
		off += n
	}
}

func (m *handMessage) read(b []byte) (int, error) {
	return eachField(b, func(t thrift.TType, id int16, b []byte) (n int, err error) {
		switch {
		case id == 1 && t == thrift.STRING:
			m.text, n, err = thrift.Binary.ReadString(b)
		case id == 7 && t == thrift.STRING:
			m.attachment, n, err = thrift.Binary.ReadBinary(b)
		case id == 4 && t == thrift.LIST && thrift.TType(b[0]) == thrift.STRING:
			n, err = readList(b, &m.tags, thrift.Binary.ReadString)
		case id == 5 && t == thrift.SET && thrift.TType(b[0]) == thrift.I64:
			n, err = readList(b, &m.recipients, thrift.Binary.ReadI64)
		case id == 15 && t == thrift.LIST && thrift.TType(b[0]) == thrift.STRUCT:
			n, err = readList(b, &m.replies, func(b []byte) (*handMessage, int, error) {
				reply := new(handMessage)
				n, err := reply.read(b)
				return reply, n, err
			})
		case id == 6 && t == thrift.MAP && thrift.TType(b[0]) == thrift.STRING && thrift.TType(b[1]) == thrift.STRING:
			n, err = m.readAttributes(b)
		default:
			n, err = thrift.Binary.Skip(b, t)
		}
		return n, err
	})
}

func readList[E any](b []byte, to *[]E, read func(b []byte) (E, int, error)) (off int, err error) {
	_, size, off, err := thrift.Binary.ReadListBegin(b)
	if err != nil {
		return off, err
	}
	*to = make([]E, 0, size)
	for range size {
		v, n, err := read(b[off:])
		if off += n; err != nil {
			return off, err
		}
		*to = append(*to, v)
	}
	return off, nil
}

func (m *handMessage) readAttributes(b []byte) (off int, err error) {
	_, _, size, off, err := thrift.Binary.ReadMapBegin(b)
	if err != nil {
		return off, err
	}
	m.attributes = make(map[string]string, size)
	for range size {
		key, n, err := thrift.Binary.ReadString(b[off:])
		if off += n; err != nil {
			return off, err
		}
		value, n, err := thrift.Binary.ReadString(b[off:])
		if off += n; err != nil {
			return off, err
		}
		m.attributes[key] = value
	}
	return off, nil
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

// decodeAs reads b as the arguments or the reply of a call of method into data, with payload codec pc; nil stands for
// Kitex's.
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
