package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	kitexcodec "github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/transcode"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
)

func TestSniff(t *testing.T) {
	for what, tc := range map[string]struct {
		b    string
		want form
	}{
		"compact call":         {"\x82\x21\x01\x01m\x00", formBare},
		"compact oneway":       {"\x82\x81\x01\x01m\x00", formBare},
		"compact, version 2":   {"\x82\x22\x01\x01m\x00", formKitex},
		"framed compact":       {"\x00\x00\x00\x06\x82\x21", formFramed},
		"long framed compact":  {"\x7f\xff\xff\xff\x82\x21", formFramed},
		"framed, version 2":    {"\x00\x00\x00\x06\x82\x22", formKitex},
		"THeader":              {"\x00\x00\x00\x20\x0f\xff", formTHeader},
		"binary":               {"\x80\x01\x00\x01\x00\x00", formKitex},
		"binary, odd name":     {"\x80\x01\x00\x01\x82\x21", formKitex},
		"framed binary":        {"\x00\x00\x00\x20\x80\x01", formKitex},
		"TTHeader":             {"\x00\x00\x00\x20\x10\x00", formKitex},
		"Kitex's Protobuf":     {"\x00\x00\x00\x20\x90\x01", formKitex},
		"mesh header":          {"\xff\xaf\x00\x20\x82\x21", formKitex},
		"mesh header, THeader": {"\xff\xaf\x00\x20\x0f\xff", formKitex},
		"HTTP/2":               {"PRI * ", formKitex},
		"HTTP":                 {"GET / ", formKitex},
		"TLS":                  {"\x16\x03\x01\x02\x00\x01", formKitex},
		"telnet":               {"\xff\xf4\xff\xfd\x06\x00", formKitex},
	} {
		if got := sniff([]byte(tc.b)); got != tc.want {
			t.Errorf("%s: got %d, want %d", what, got, tc.want)
		}
	}
}

var errNoted = errors.New("noted")

// notes is a codec that records its calls.
type notes struct{ calls []string }

func (n *notes) Encode(context.Context, remote.Message, remote.ByteBuffer) error {
	n.calls = append(n.calls, "Encode")
	return errNoted
}

func (n *notes) Decode(context.Context, remote.Message, remote.ByteBuffer) error {
	n.calls = append(n.calls, "Decode")
	return errNoted
}

func (n *notes) Name() string { return "notes" }

// metaNotes is a notes that decodes in two steps.
type metaNotes struct{ notes }

func (n *metaNotes) DecodeMeta(context.Context, remote.Message, remote.ByteBuffer) error {
	n.calls = append(n.calls, "DecodeMeta")
	return nil
}

func (n *metaNotes) DecodePayload(context.Context, remote.Message, remote.ByteBuffer) error {
	n.calls = append(n.calls, "DecodePayload")
	return errNoted
}

// newMessage returns a message as Kitex's handlers make it.
func newMessage(role remote.RPCRole, kind remote.MessageType) remote.Message {
	info := rpcinfo.NewRPCInfo(rpcinfo.EmptyEndpointInfo(), rpcinfo.EmptyEndpointInfo(),
		rpcinfo.NewServerInvocation(), rpcinfo.NewRPCConfig(), rpcinfo.NewRPCStats())
	return remote.NewMessage(nil, info, kind, role)
}

// TestKitexCodec checks that a codec of the user's own gets every message that it knows, and no
// other.
func TestKitexCodec(t *testing.T) {
	const framed, bare = "\x00\x00\x00\x11\x80\x01\x00\x01", "\x82\x21\x07\x08Nonesuch\x00"
	for _, tc := range []struct {
		what  string
		role  remote.RPCRole
		bytes string
		want  []string // of a codec that decodes in two steps; nil: not asked
	}{
		{"framed binary on a server", remote.Server, framed, []string{"DecodeMeta", "DecodePayload", "Encode"}},
		{"framed binary on a client", remote.Client, framed, []string{"DecodeMeta", "DecodePayload", "Encode"}},
		{"compact on a client", remote.Client, bare, []string{"DecodeMeta", "DecodePayload", "Encode"}},
		{"compact on a server", remote.Server, bare, nil},
	} {
		var two metaNotes
		useCodec(t, NewCodec(Config{Codec: &two}), tc.role, tc.bytes)
		if !slices.Equal(two.calls, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.what, two.calls, tc.want)
		}
		want := []string{"Decode", "Encode"}
		if tc.want == nil {
			want = nil
		}
		var one notes
		useCodec(t, NewCodec(Config{Codec: &one}), tc.role, tc.bytes)
		if !slices.Equal(one.calls, want) {
			t.Errorf("%s, in one step: got %v, want %v", tc.what, one.calls, want)
		}
	}
}

// TestZeroConfig: zero, nil and less than zero stand for the same defaults.
func TestZeroConfig(t *testing.T) {
	zero := NewCodec(Config{}).(*codec)
	less := NewCodec(Config{Limits: thrift.Limits{MaxFrame: -1, MaxDepth: -1, MaxContainer: -1, MaxString: -1}}).(*codec)
	if zero.kitex.Name() != less.kitex.Name() || zero.meta == nil || zero.limits != less.limits {
		t.Errorf("got %+v, want %+v", less, zero)
	}
}

// useCodec lets c decode and encode, with errors, none of which may be lost.
func useCodec(t *testing.T, c remote.Codec, role remote.RPCRole, b string) {
	t.Helper()
	m := newMessage(role, remote.Call)
	ctx := remote.WithServiceSearcher(context.Background(), oneService{echoservice.NewServiceInfo()})
	if err := c.Decode(ctx, m, newMemory([]byte(b))); err == nil {
		t.Error("Decode: no error")
	}
	if err := c.Encode(ctx, m, newMemory(nil)); err == nil {
		t.Error("Encode: no error")
	}
}

func TestName(t *testing.T) {
	if got := NewCodec(Config{}).Name(); got != "kiteline/wire+"+kitexcodec.NewDefaultCodec().Name() {
		t.Errorf("got %q", got)
	}
}

// TestConfig checks what handlers learn of the request.
func TestConfig(t *testing.T) {
	for d, want := range map[dialect]transport.Protocol{
		"compact": transport.PurePayload, "framed-compact": transport.Framed, "theader-binary": transport.TTHeader,
	} {
		m := newMessage(remote.Server, remote.Call)
		in := newMemory(golden(t)["repeat"][string(d)])
		if err := NewCodec(Config{}).(remote.MetaDecoder).DecodeMeta(context.Background(), m, in); err != nil {
			t.Fatal(err)
		}
		if got := m.RPCInfo().Config().TransportProtocol(); got != want {
			t.Errorf("%s: got %v, want %v", d, got, want)
		}
	}
}

// TestServiceName lets a THeader name the service, for servers with several.
func TestServiceName(t *testing.T) {
	m := newMessage(remote.Server, remote.Call)
	d := dialect("theader-compact")
	in := newMemory(d.frame(golden(t)["repeat"]["binary"], 1, map[string]string{"isn": "EchoService"}))
	if err := NewCodec(Config{}).(remote.MetaDecoder).DecodeMeta(context.Background(), m, in); err != nil {
		t.Fatal(err)
	}
	if got := m.RPCInfo().Invocation().ServiceName(); got != "EchoService" {
		t.Errorf("got %q", got)
	}
}

// lazy is a payload codec that leaves the last byte of each message.
type lazy struct{ remote.PayloadCodec }

func (lazy) Unmarshal(_ context.Context, m remote.Message, in remote.ByteBuffer) error {
	return in.Skip(m.PayloadLen() - 1)
}

// TestTrailingBytes uses a payload codec that does not take all: the next message would begin in
// the middle of this one.
func TestTrailingBytes(t *testing.T) {
	for _, d := range dialects {
		m := newMessage(remote.Server, remote.Call)
		m.SetPayloadCodec(lazy{})
		err := NewCodec(Config{}).Decode(context.Background(), m, newMemory(golden(t)["repeat"][string(d)]))
		var e *thrift.Error
		if !errors.As(err, &e) || e.Kind != thrift.TrailingBytes {
			t.Errorf("%s: got %v", d, err)
		}
	}
}

// TestExpand uses compact messages in memory that end too early or too late.
func TestExpand(t *testing.T) {
	limits := resolved(thrift.Limits{})
	b := golden(t)["repeat"]["compact"]
	for _, tc := range []struct {
		b    []byte
		want thrift.Kind
	}{{b[:len(b)-1], thrift.Truncated}, {append(slices.Clip(b), 0), thrift.TrailingBytes}} {
		var x transcode.Expander
		x.Reset(&limits, len(tc.b))
		var e *thrift.Error
		if err := expand(&x, tc.b); !errors.As(err, &e) || e.Kind != tc.want {
			t.Errorf("%d of %d bytes: got %v, want %v", len(tc.b), len(b), err, tc.want)
		}
	}
}

// repeated returns the request of Repeat in a dialect, decoded, and an empty reply to it.
func repeated(t *testing.T, d dialect) (request, reply remote.Message) {
	t.Helper()
	ctx := remote.WithServiceSearcher(context.Background(), oneService{echoservice.NewServiceInfo()})
	request = newMessage(remote.Server, remote.Call)
	request.SetPayloadCodec(thrift.NewPayloadCodec(thrift.Config{}))
	if err := NewCodec(Config{}).Decode(ctx, request, newMemory(golden(t)["repeat"][string(d)])); err != nil {
		t.Fatal(err)
	}
	reply = remote.NewMessage(request.RPCInfo().Invocation().MethodInfo().NewResult(), request.RPCInfo(), remote.Reply, remote.Server)
	reply.SetPayloadCodec(thrift.NewPayloadCodec(thrift.Config{}))
	return request, reply
}

// TestStats checks the sizes that tracers get.
func TestStats(t *testing.T) {
	for _, d := range dialects {
		request, reply := repeated(t, d)
		out := newMemory(nil)
		if err := NewCodec(Config{}).Encode(context.Background(), reply, out); err != nil {
			t.Fatal(err)
		}
		received := uint64(len(golden(t)["repeat"][string(d)]))
		s := request.RPCInfo().Stats()
		if s.RecvSize() != received || s.SendSize() != uint64(out.WrittenLen()) || s.SendSize() == 0 {
			t.Errorf("%s: got %d received, %d sent, want %d, %d", d, s.RecvSize(), s.SendSize(), received, out.WrittenLen())
		}
	}
}

// garbled is a payload codec whose messages are none.
type garbled struct{ remote.PayloadCodec }

func (garbled) Marshal(_ context.Context, _ remote.Message, out remote.ByteBuffer) error {
	_, err := out.WriteBinary([]byte("no message"))
	return err
}

// TestRepliesWithoutAForm checks the errors of replies that have no form: more keys than a THeader
// can hold, and what is no message where it must become compact.
func TestRepliesWithoutAForm(t *testing.T) {
	for _, d := range dialects {
		if d.isTHeader() {
			_, reply := repeated(t, d)
			reply.TransInfo().PutTransStrInfo(map[string]string{"key": strings.Repeat("v", 1<<18)})
			err := NewCodec(Config{}).Encode(context.Background(), reply, newMemory(nil))
			if e := new(thrift.Error); !errors.As(err, &e) || e.Kind != thrift.TooLarge {
				t.Errorf("%s, long header: got %v", d, err)
			}
		}
		if d.isCompact() {
			_, reply := repeated(t, d)
			reply.SetPayloadCodec(garbled{})
			err := NewCodec(Config{}).Encode(context.Background(), reply, newMemory(nil))
			if e := new(thrift.Error); !errors.As(err, &e) || e.Kind != thrift.BadHeader {
				t.Errorf("%s, garbled: got %v", d, err)
			}
		}
	}
}

// resetInfo resets info for the next call, as Kitex does on a connection.
func resetInfo(info rpcinfo.RPCInfo) {
	info.Invocation().(rpcinfo.InvocationSetter).Reset()
	rpcinfo.AsMutableRPCConfig(info.Config()).CopyFrom(rpcinfo.NewRPCConfig())
}

// TestCheckMessage uses the shortest and the longest names that a binary message in THeader may
// have.
func TestCheckMessage(t *testing.T) {
	for _, tc := range []struct {
		name, size int
		ok         bool
	}{
		{0, 13, true}, {0, 12, false}, {1, 13, false}, {1, 14, true}, {-1, 100, false},
		{maxNameBytes, 1 << 20, true}, {maxNameBytes + 1, 1 << 20, false},
	} {
		b := binary.BigEndian.AppendUint32([]byte{0x80, 1, 0, 1}, uint32(tc.name))
		if err := checkMessage(b, tc.size); (err == nil) != tc.ok {
			t.Errorf("name of %d in %d bytes: got %v", tc.name, tc.size, err)
		}
	}
}

// TestScratchKeepsLittle puts memory back that was used for a message of the greatest length.
func TestScratchKeepsLittle(t *testing.T) {
	s := &scratch{b: make([]byte, keptBytes+1)}
	s.put()
	if cap(s.b) != 0 {
		t.Errorf("keeps %d bytes", cap(s.b))
	}
}
