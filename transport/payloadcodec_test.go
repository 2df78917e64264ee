package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	kitexthrift "github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/transport/buffer"
)

// countingCodec is a user's payload codec.
type countingCodec struct {
	remote.PayloadCodec
	read int
}

func (c *countingCodec) Unmarshal(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	c.read++
	return c.PayloadCodec.Unmarshal(ctx, m, in)
}

// TestPayloadCodecOfSuites: the suites bring codec/thrift's codec, but keep one that the user chose
// before or after.
func TestPayloadCodecOfSuites(t *testing.T) {
	user := &countingCodec{PayloadCodec: kitexthrift.NewThriftCodec()}
	servers := func(opts ...server.Option) remote.PayloadCodec {
		o := new(server.Options)
		o.RemoteOpt = new(remote.ServerOption)
		for _, opt := range opts {
			opt.F(o, new(utils.Slice))
		}
		return o.RemoteOpt.PayloadCodec
	}
	clients := func(opts ...client.Option) remote.PayloadCodec {
		o := new(client.Options)
		o.RemoteOpt = new(remote.ClientOption)
		for _, opt := range opts {
			opt.F(o, new(utils.Slice))
		}
		return o.RemoteOpt.PayloadCodec
	}
	serverSet, clientSet := server.WithPayloadCodec(user), client.WithPayloadCodec(user)
	serverSuite := func(opts ...ServerOption) server.Option { return NewServerSuite(opts...).Options()[0] }
	clientSuite := func(opts ...ClientOption) client.Option { return NewClientSuite(opts...).Options()[0] }
	muxSuite := func(opts ...ClientOption) client.Option { return NewMuxClientSuite(opts...).Options()[0] }
	for _, tc := range []struct {
		name string
		got  remote.PayloadCodec
		want string
	}{
		{"server", servers(serverSuite()), "ours"},
		{"client", clients(clientSuite()), "ours"},
		{"multiplexing client", clients(muxSuite()), "ours"},
		{"server's user, before", servers(serverSet, serverSuite()), "user's"},
		{"server's user, after", servers(serverSuite(), serverSet), "user's"},
		{"client's user, before", clients(clientSet, clientSuite()), "user's"},
		{"client's user, after", clients(muxSuite(), clientSet), "user's"},
		{"server, not wanted", servers(serverSuite(WithKitexCodec())), "Kitex's"},
		{"client, not wanted", clients(clientSuite(WithKitexCodec())), "Kitex's"},
		{"binary generic server", servers(server.WithGeneric(generic.BinaryThriftGeneric()), serverSuite()), "ours"},
		{"binary generic client", clients(client.WithGeneric(generic.BinaryThriftGeneric()), clientSuite(), muxSuite()), "ours"},
		{"binary generic, not wanted", clients(client.WithGeneric(generic.BinaryThriftGeneric()), clientSuite(), clientSuite(WithKitexCodec())), "generic"},
		{"two suites, the later without", servers(serverSuite(), serverSuite(WithKitexCodec())), "Kitex's"},
		{"two suites, the earlier without", clients(clientSuite(WithKitexCodec()), muxSuite()), "ours"},
	} {
		got := "Kitex's"
		switch tc.got.(type) {
		case suiteCodec:
			got = "ours"
		case *countingCodec:
			got = "user's"
		case nil:
		default:
			got = "generic"
		}
		if got != tc.want {
			t.Errorf("%s: got %s codec, want %s", tc.name, got, tc.want)
		}
	}
}

// TestRegisteredCodec: a server yields to a codec of Kitex's own that the user has registered in
// place of Kitex's default.
func TestRegisteredCodec(t *testing.T) {
	if yieldsToKitex(suiteCodec{}) {
		t.Error("yields to Kitex's default")
	}
	kitex := kitexthrift.NewThriftCodecWithConfig(kitexthrift.FrugalReadWrite)
	remote.PutPayloadCode(serviceinfo.Thrift, kitex)
	defer remote.PutPayloadCode(serviceinfo.Thrift, kitexthrift.NewThriftCodec())
	if !yieldsToKitex(suiteCodec{}) {
		t.Error("does not yield to a codec that was registered")
	}
	if yieldsToKitex(&countingCodec{}) || yieldsToKitex(nil) {
		t.Error("yields though the codec is not the suite's")
	}
}

// TestRegisteredCodecOfServer: a server finds out whether its own options register a codec,
// whatever their order. Registering the default again makes no difference.
func TestRegisteredCodecOfServer(t *testing.T) {
	defer remote.PutPayloadCode(serviceinfo.Thrift, kitexthrift.NewThriftCodec())
	frugal := func() server.Option {
		return server.WithPayloadCodec(kitexthrift.NewThriftCodecWithConfig(kitexthrift.FrugalReadWrite))
	}
	same := func() server.Option { return server.WithPayloadCodec(kitexthrift.NewThriftCodec()) }
	suite := func() server.Option { return server.WithSuite(NewServerSuite()) }
	for _, tc := range []struct {
		name string
		opts []server.Option
		want bool // the suite's codec is used
	}{
		{"suite", []server.Option{suite()}, true},
		{"before", []server.Option{frugal(), suite()}, false},
		{"after", []server.Option{suite(), frugal()}, false},
		{"in a suite", []server.Option{suite(), server.WithSuite(optionsSuite{frugal()})}, false},
		{"the default", []server.Option{same(), suite(), same()}, true},
	} {
		remote.PutPayloadCode(serviceinfo.Thrift, kitexthrift.NewThriftCodec())
		o := applied(tc.opts...)
		_, err := serverHandlerFactory{options: o}.NewTransHandler(o.RemoteOpt)
		if _, got := o.RemoteOpt.PayloadCodec.(suiteCodec); err != nil || got != tc.want {
			t.Errorf("%s: got the suite's codec: %v, want %v; %v; options %+v", tc.name, got, tc.want, err, o.DebugInfo)
		}
	}
}

// applied returns a server's options after opts.
func applied(opts ...server.Option) *server.Options {
	o := new(server.Options)
	o.RemoteOpt = new(remote.ServerOption)
	for _, opt := range opts {
		opt.F(o, &o.DebugInfo)
	}
	return o
}

// optionsSuite is a user's suite.
type optionsSuite []server.Option

func (s optionsSuite) Options() []server.Option { return s }

// TestServerStartsBesideAnother starts servers while others that register a codec are built. The
// race detector checks that starting reads nothing that building changes.
func TestServerStartsBesideAnother(t *testing.T) {
	var options []*server.Options
	for range 10 {
		options = append(options, applied(server.WithSuite(NewServerSuite())))
	}
	var building sync.WaitGroup
	building.Go(func() {
		for range 10 {
			applied(server.WithPayloadCodec(kitexthrift.NewThriftCodec()))
		}
	})
	for _, o := range options {
		if _, err := o.RemoteOpt.SvrHandlerFactory.NewTransHandler(o.RemoteOpt); err != nil {
			t.Error(err)
		}
		if _, ours := o.RemoteOpt.PayloadCodec.(suiteCodec); !ours {
			t.Error("the server does not use the suite's codec")
		}
	}
	building.Wait()
}

// TestMaxFrame sends payloads of the greatest length, and one byte more, in each direction.
func TestMaxFrame(t *testing.T) {
	t.Parallel()
	const limit = 100_000
	overhead := len(encoded(t, payload(0)))
	for _, tc := range []struct {
		name   string
		server []ServerOption
		client []ClientOption
		alone  []ClientOption // of a handler factory without the suite
		want   int            // the longest frame that passes
	}{
		{"server", []ServerOption{WithMaxFrame(limit)}, nil, nil, limit},
		{"client", nil, []ClientOption{WithMaxFrame(limit)}, nil, limit},
		{"server, Kitex's codec", []ServerOption{WithMaxFrame(limit), WithKitexCodec()}, nil, nil, limit + headerRoom - 4},
		{"client, Kitex's codec", nil, []ClientOption{WithMaxFrame(limit), WithKitexCodec()}, nil, limit + headerRoom - 4},
		{"client's handlers", nil, nil, []ClientOption{WithMaxFrame(limit)}, limit + headerRoom - 4},
		{"none", []ServerOption{WithMaxFrame(-1)}, []ClientOption{WithMaxFrame(-1), WithKitexCodec()}, []ClientOption{WithMaxFrame(-1)}, 20_000_000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newTestGroup(t)
			address := startEcho(t, g, server.WithSuite(NewServerSuite(append(tc.server, WithGroup(g))...)))
			opts := []client.Option{
				client.WithTransportProtocol(transport.Framed), client.WithSuite(NewClientSuite(append(tc.client, WithGroup(g))...)),
			}
			if tc.alone != nil {
				opts = append(opts, client.WithTransHandlerFactory(NewClientTransHandlerFactory(tc.alone...)))
			}
			cli, _ := newEcho(t, address, opts...)
			call := func(frame int) error {
				// Label and header are the same in request and reply.
				sent := &echo.Payload{Data: make([]byte, frame-overhead), Label: "payload 0"}
				got, err := cli.EchoPayload(t.Context(), sent)
				if err == nil && !bytes.Equal(got.Data, sent.Data) {
					t.Error("the answer is another")
				}
				return err
			}
			if err := call(tc.want); err != nil {
				t.Errorf("of %d bytes: %v", tc.want, err)
			}
			if tc.name == "none" {
				return
			}
			if err := call(tc.want + 1); err == nil {
				t.Errorf("of %d bytes: got no error", tc.want+1)
			} else if refused := new(thrift.Error); tc.name == "client" && (!errors.As(err, &refused) || refused.Kind != thrift.TooLarge) {
				t.Errorf("got %v, want a *thrift.Error", err)
			} else if (tc.name == "client, Kitex's codec" || tc.alone != nil) && !errors.Is(err, ErrMessageTooLarge) {
				t.Errorf("got %v, want ErrMessageTooLarge", err)
			}
			if err := call(1000); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

// encoded returns a message of EchoPayload without its frame's length.
func encoded(t testing.TB, args *echo.EchoServiceEchoPayloadArgs) []byte {
	t.Helper()
	memory := (&byteBuffer{}).NewBuffer()
	if err := codec.NewDefaultCodec().Encode(context.Background(), newMessage(args, transport.PurePayload, remote.Server), memory); err != nil {
		t.Fatal(err)
	}
	p, err := memory.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(p)
}

// TestMaxReadOf: zero means the default with every function that takes WithMaxFrame, negative no
// limit, and the greatest int is a limit like any other.
func TestMaxReadOf(t *testing.T) {
	for n, want := range map[int]int{
		-1: 0, 0: thrift.DefaultMaxFrame + headerRoom, 1: 1 + headerRoom, math.MaxInt: math.MaxInt,
	} {
		onServer, onClient := newServerSettings(takerServerSuite, []ServerOption{WithMaxFrame(n)}), newClientSettings(takerClientSuite, []ClientOption{WithMaxFrame(n)})
		alone := NewClientTransHandlerFactory(WithMaxFrame(n)).(clientHandlerFactory)
		for of, got := range map[string]int{"server": onServer.maxRead(), "client": onClient.maxRead(), "client's handlers": alone.maxRead} {
			if got != want {
				t.Errorf("%d, %s: got %d, want %d", n, of, got, want)
			}
		}
	}
}

// TestMaxRead: each method takes as many bytes as allowed, and no more.
func TestMaxRead(t *testing.T) {
	for name, take := range map[string]func(b *byteBuffer, n int) error{
		"Next":       func(b *byteBuffer, n int) error { _, err := b.Next(n); return err },
		"Skip":       (*byteBuffer).Skip,
		"ReadString": func(b *byteBuffer, n int) error { _, err := b.ReadString(n); return err },
		"ReadBinary": func(b *byteBuffer, n int) error { _, err := b.ReadBinary(make([]byte, n)); return err },
		"ReadFrame":  func(b *byteBuffer, n int) error { _, err := b.ReadFrame(n); return err },
	} {
		b := readable(t, "0123456789")
		b.maxRead = 8
		if err := take(b, 5); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := take(b, 4); !errors.Is(err, ErrMessageTooLarge) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := b.Peek(4); !errors.Is(err, ErrMessageTooLarge) {
			t.Errorf("Peek: got %v", err)
		}
		r := b.NetpollReader()
		if _, err := r.Peek(4); !errors.Is(err, ErrMessageTooLarge) || r.Len() != 3 {
			t.Errorf("NetpollReader: got %v, %d bytes", err, r.Len())
		}
		if err := take(b, 3); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFrameLength changes the length of a TTHeader frame or of the frame inside it, or puts another
// message into it. If the lengths do not agree the message is refused, whatever codec reads the
// payload. The connection is closed, since the next message would be read from the wrong place.
func TestFrameLength(t *testing.T) {
	t.Parallel()
	g := newTestGroup(t)
	large := thrift.Config{Limits: thrift.Limits{MaxFrame: math.MaxInt32}}
	for _, payload := range []struct {
		name  string
		codec remote.PayloadCodec // of the message that is decoded
		opts  []server.Option     // after the suite
	}{
		{"suite's codec", thrift.NewPayloadCodec(large), nil},
		{"user's codec", &countingCodec{PayloadCodec: kitexthrift.NewThriftCodec()}, []server.Option{
			server.WithPayloadCodec(&countingCodec{PayloadCodec: kitexthrift.NewThriftCodec()}),
		}},
		{"codec/thrift's", thrift.NewPayloadCodec(large), []server.Option{server.WithPayloadCodec(thrift.NewPayloadCodec(thrift.Config{}))}},
		{"Kitex's codec", kitexthrift.NewThriftCodec(), []server.Option{server.WithSuite(NewServerSuite(WithGroup(g), WithKitexCodec()))}},
	} {
		address := startEcho(t, g, append([]server.Option{server.WithSuite(NewServerSuite(WithGroup(g)))}, payload.opts...)...)
		for _, tc := range []struct {
			name     string
			protocol transport.Protocol
			outer    int // added to the frame's length
			inner    int // added to the inner frame's length
			want     thrift.Kind
		}{
			{"both right", transport.TTHeaderFramed, 0, 0, 0},
			{"unframed", transport.TTHeader, 0, 0, 0},
			{"frame longer", transport.TTHeaderFramed, 1, 0, thrift.TrailingBytes},
			{"frame shorter", transport.TTHeaderFramed, -1, 0, thrift.Truncated},
			{"payload longer", transport.TTHeaderFramed, 0, 1, thrift.Truncated},
			{"payload shorter", transport.TTHeaderFramed, 0, -1, thrift.TrailingBytes},
			{"payload of 2 GiB", transport.TTHeaderFramed, 0, 1<<31 - 1000, thrift.Truncated},
		} {
			t.Run(payload.name+"/"+tc.name, func(t *testing.T) {
				frame := framedReply(t, tc.protocol, tc.outer, tc.inner)
				checkFrameLength(t, payload.codec, frame, tc.want)
				checkServerFrameLength(t, address, frame, tc.want)
			})
		}
		t.Run(payload.name+"/two messages", func(t *testing.T) {
			frame := twice(framedReply(t, transport.TTHeaderFramed, 0, 0))
			checkFrameLength(t, payload.codec, frame, thrift.TrailingBytes)
			checkServerFrameLength(t, address, frame, thrift.TrailingBytes)
		})
	}
}

// twice returns a TTHeader frame that contains its framed payload twice.
func twice(frame []byte) []byte {
	start := 14 + 4*int(binary.BigEndian.Uint16(frame[12:]))
	frame = append(frame, frame[start:]...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// checkFrameLength decodes frame as a client does.
func checkFrameLength(t *testing.T, payload remote.PayloadCodec, frame []byte, want thrift.Kind) {
	t.Helper()
	var memory buffer.LinkBuffer
	if _, err := memory.WriteBinary(frame); err != nil {
		t.Fatal(err)
	}
	if err := memory.Flush(); err != nil {
		t.Fatal(err)
	}
	m := newMessage(new(echo.EchoServiceEchoPayloadArgs), transport.TTHeaderFramed, remote.Client)
	m.SetPayloadCodec(payload)
	in := newMemoryBuffer(&memory, nil)
	// Kitex's own limit would refuse a payload of 2 GiB first.
	err := wholeFrames(codec.NewDefaultCodecWithSizeLimit(math.MaxInt)).Decode(t.Context(), m, in)
	refused := new(thrift.Error)
	if errors.As(err, &refused); refused.Kind != want {
		t.Errorf("got %v, want %v", err, want)
	}
	if err := in.Release(err); err != nil {
		t.Fatal(err)
	}
}

// checkServerFrameLength sends frame, a reply's, to a server as a call's.
func checkServerFrameLength(t *testing.T, address string, frame []byte, want thrift.Kind) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	call := bytes.ReplaceAll(frame, []byte{0x80, 1, 0, byte(remote.Reply)}, []byte{0x80, 1, 0, byte(remote.Call)})
	if _, err := nc.Write(call); err != nil {
		t.Fatal(err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(time.Minute))
	if want != 0 {
		wantClosed(t, nc)
	} else if _, err := readTTHeaderFrame(nc); err != nil {
		t.Errorf("the reply: %v", err)
	}
}

// framedReply returns EchoPayload's arguments as a reply whose lengths are off by outer and inner
// bytes.
func framedReply(t *testing.T, protocol transport.Protocol, outer, inner int) []byte {
	t.Helper()
	memory := (&byteBuffer{}).NewBuffer()
	if err := codec.NewDefaultCodec().Encode(t.Context(), newMessage(payload(100), protocol, remote.Server), memory); err != nil {
		t.Fatal(err)
	}
	p, err := memory.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	frame := bytes.Clone(p)
	if err := memory.Release(nil); err != nil {
		t.Fatal(err)
	}
	add := func(at, n int) {
		binary.BigEndian.PutUint32(frame[at:], uint32(int(binary.BigEndian.Uint32(frame[at:]))+n))
	}
	add(0, outer)
	if inner != 0 {
		// After the header, whose length is in words.
		add(14+4*int(binary.BigEndian.Uint16(frame[12:])), inner)
	}
	return frame
}

// BenchmarkPayloadCodec reads a message from a buffer whose bytes have arrived, or writes one to a
// buffer, with either codec.
func BenchmarkPayloadCodec(b *testing.B) {
	codecs := []struct {
		name string
		pc   remote.PayloadCodec
	}{{"kitex", kitexthrift.NewThriftCodec()}, {"kiteline", thrift.NewPayloadCodec(thrift.Config{})}}
	for _, size := range []struct {
		name  string
		bytes int
	}{{"0", 0}, {"1K", 1 << 10}, {"16K", 16 << 10}, {"1M", 1 << 20}} {
		args := payload(size.bytes)
		for _, c := range codecs {
			b.Run("unframed/"+size.name+"/"+c.name, func(b *testing.B) { benchmarkDecode(b, c.pc, encoded(b, args)) })
			b.Run("framed/"+size.name+"/"+c.name, func(b *testing.B) {
				message := encoded(b, args)
				benchmarkDecode(b, c.pc, append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
			})
			b.Run("encode/"+size.name+"/"+c.name, func(b *testing.B) { benchmarkEncode(b, c.pc, args) })
		}
	}
}

func benchmarkDecode(b *testing.B, pc remote.PayloadCodec, wire []byte) {
	ctx := context.Background()
	c := codec.NewDefaultCodec()
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		var memory buffer.LinkBuffer
		for rest := wire; len(rest) > 0; { // in blocks, as it would arrive
			n := min(len(rest), 8<<10)
			p, err := memory.Malloc(n)
			if err != nil {
				b.Fatal(err)
			}
			copy(p, rest)
			rest = rest[n:]
		}
		if err := memory.Flush(); err != nil {
			b.Fatal(err)
		}
		m := newMessage(new(echo.EchoServiceEchoPayloadArgs), transport.PurePayload, remote.Client)
		m.SetPayloadCodec(pc)
		in := newMemoryBuffer(&memory, nil)
		if err := errors.Join(c.Decode(ctx, m, in), in.Release(nil)); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkEncode(b *testing.B, pc remote.PayloadCodec, args *echo.EchoServiceEchoPayloadArgs) {
	ctx := context.Background()
	c := codec.NewDefaultCodec()
	b.ReportAllocs()
	for b.Loop() {
		var memory buffer.LinkBuffer
		m := newMessage(args, transport.Framed, remote.Server)
		m.SetPayloadCodec(pc)
		out := newMemoryBuffer(nil, &memory)
		if err := errors.Join(c.Encode(ctx, m, out), out.Flush()); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(memory.Len()))
		if err := errors.Join(memory.Skip(memory.Len()), memory.Release(), out.Release(nil)); err != nil {
			b.Fatal(err)
		}
	}
}
