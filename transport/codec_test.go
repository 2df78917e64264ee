package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// newMessage returns a message of EchoPayload as Kitex's client or server makes it.
func newMessage(args *echo.EchoServiceEchoPayloadArgs, protocol transport.Protocol, role remote.RPCRole) remote.Message {
	method := serviceinfo.NewMethodInfo(nil, func() interface{} { return args }, nil, false)
	invocation := rpcinfo.NewInvocation("EchoService", "EchoPayload")
	invocation.SetMethodInfo(method)
	invocation.SetSeqID(7)
	peer := rpcinfo.NewEndpointInfo("echo", "EchoPayload", nil, nil)
	ri := rpcinfo.NewRPCInfo(peer, peer, invocation, rpcinfo.NewRPCConfig(), rpcinfo.NewRPCStats())
	cfg := rpcinfo.AsMutableRPCConfig(ri.Config())
	_ = cfg.SetTransportProtocol(protocol)
	cfg.SetPayloadCodec(serviceinfo.Thrift)
	m := remote.NewMessage(args, ri, remote.Reply, role)
	m.SetPayloadCodec(thrift.NewThriftCodec())
	return m
}

func payload(size int) *echo.EchoServiceEchoPayloadArgs {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return &echo.EchoServiceEchoPayloadArgs{Payload: &echo.Payload{Data: data, Label: fmt.Sprint("payload ", size)}}
}

var protocols = map[string]transport.Protocol{
	"pure":            transport.PurePayload,
	"framed":          transport.Framed,
	"TTHeader":        transport.TTHeader,
	"TTHeader framed": transport.TTHeaderFramed,
}

// twoConns returns the two ends of a connection, both Kiteline's.
func twoConns(t testing.TB) (a, b *netpollconn.Conn) {
	t.Helper()
	g := newTestGroup(t)
	a, peer := newTestPair(t, g)
	return a, wrap(t, g, peer)
}

// TestCodecRoundTrip sends messages as Kitex's codecs write them, with lengths filled in afterwards
// and large fields by reference.
func TestCodecRoundTrip(t *testing.T) {
	for name, protocol := range protocols {
		t.Run(name, func(t *testing.T) {
			a, b := twoConns(t)
			ctx := context.Background()
			c := codec.NewDefaultCodec()
			sizes := []int{0, 1, 100, 4095, 4096, 5000, 64 << 10, 1 << 20}
			sent := make(chan error, 1)
			go func() {
				for _, size := range sizes {
					out := newWriteBuffer(a)
					err := c.Encode(ctx, newMessage(payload(size), protocol, remote.Server), out)
					if err == nil {
						err = out.Flush()
					}
					err = errors.Join(err, out.Release(err))
					if err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			for _, size := range sizes {
				got := &echo.EchoServiceEchoPayloadArgs{}
				m := newMessage(got, protocol, remote.Client)
				in := newReadBuffer(b)
				if err := c.Decode(ctx, m, in); err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if want := payload(size); !bytes.Equal(got.Payload.Data, want.Payload.Data) || got.Payload.Label != want.Payload.Label {
					t.Errorf("%d bytes: got %d, label %q", size, len(got.Payload.Data), got.Payload.Label)
				}
				if in.ReadLen() < size || uint64(in.ReadLen()) != m.RPCInfo().Stats().RecvSize() {
					t.Errorf("%d bytes: ReadLen %d, RecvSize %d", size, in.ReadLen(), m.RPCInfo().Stats().RecvSize())
				}
				if err := in.Release(nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := receive(t, "encoding", sent); err != nil {
				t.Fatal(err)
			}
			if n := b.Reader().Len(); n != 0 {
				t.Errorf("%d bytes are left over", n)
			}
		})
	}
}

// truncatedPayload returns the error of decoding a frame that is shorter than the struct in it.
func truncatedPayload(t *testing.T) error {
	a, b := twoConns(t)
	ctx := context.Background()
	memory := (&byteBuffer{}).NewBuffer()
	if err := codec.NewDefaultCodec().Encode(ctx, newMessage(payload(100), transport.Framed, remote.Server), memory); err != nil {
		t.Fatal(err)
	}
	p, err := memory.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	frame := bytes.Clone(p[:len(p)-50])
	if err := memory.Release(nil); err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	if _, err := a.Write(frame); err != nil {
		t.Fatal(err)
	}
	in := newReadBuffer(b)
	err = codec.NewDefaultCodec().Decode(ctx, newMessage(&echo.EchoServiceEchoPayloadArgs{}, transport.Framed, remote.Client), in)
	if err := in.Release(err); err != nil {
		t.Fatal(err)
	}
	return err
}
