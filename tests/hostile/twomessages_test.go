package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"
	kitexthrift "github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport"
)

// userCodec is a payload codec of the user.
type userCodec struct{ remote.PayloadCodec }

// payloadCodecs are the codecs that may read the payload of a frame, as options after the suite.
func payloadCodecs() []struct {
	name    string
	server  []server.Option
	pooled  []client.Option
	sharing []client.Option
} {
	kitex := transport.WithKitexCodec()
	of := func(c remote.PayloadCodec) []client.Option { return []client.Option{client.WithPayloadCodec(c)} }
	return []struct {
		name    string
		server  []server.Option
		pooled  []client.Option
		sharing []client.Option
	}{
		{"the suite's", nil, nil, nil},
		{
			"codec/thrift's", []server.Option{server.WithPayloadCodec(thrift.NewPayloadCodec(thrift.Config{}))},
			of(thrift.NewPayloadCodec(thrift.Config{})), of(thrift.NewPayloadCodec(thrift.Config{})),
		},
		{
			"Kitex's", []server.Option{server.WithSuite(transport.NewServerSuite(kitex))},
			[]client.Option{client.WithSuite(transport.NewClientSuite(kitex))},
			[]client.Option{client.WithSuite(transport.NewMuxClientSuite(kitex))},
		},
		{
			"a user's", []server.Option{server.WithPayloadCodec(userCodec{kitexthrift.NewThriftCodec()})},
			of(userCodec{kitexthrift.NewThriftCodec()}), of(userCodec{kitexthrift.NewThriftCodec()}),
		},
	}
}

// TestTwoCallsInAFrame sends a server a frame with two calls inside, on a connection of its own and
// on a shared one: neither call is handled, whatever codec reads them.
func TestTwoCallsInAFrame(t *testing.T) {
	one := framed(thriftMessage(call, "Echo", inMessage(1)))
	for _, c := range payloadCodecs() {
		t.Run(c.name, func(t *testing.T) {
			var handled atomic.Int64
			s := harness.Echo(t, harness.Kiteline, &harness.Service{
				OnEcho: func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
					handled.Add(1)
					return &echo.EchoResponse{Message: r.Message}, nil
				},
			}, c.server...)
			for flags, name := range []string{"pooled", "shared"} {
				shared := flags == 1
				if _, err := exchange(s.Addr, ttheaderOf(byte(flags), cat(one, one)), shared); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if got := handled.Load(); got != 0 {
					t.Errorf("%s: %d calls were handled, want none", name, got)
				}
				answer, err := exchange(s.Addr, ttheaderOf(byte(flags), one), true)
				if err != nil || !bytes.Contains(answer, []byte{0x80, 1, 0, reply}) || handled.Swap(0) != 1 {
					t.Errorf("%s, one call: got %q, %v", name, answer, err)
				}
			}
		})
	}
}

// TestTwoRepliesInAFrame sends every reply twice in its frame: the call fails, whatever codec reads
// it.
func TestTwoRepliesInAFrame(t *testing.T) {
	s := harness.Echo(t, harness.Kiteline, new(harness.Service))
	for _, c := range payloadCodecs() {
		for tr, opts := range map[harness.Transport][]client.Option{harness.Kiteline: c.pooled, harness.KitelineMux: c.sharing} {
			t.Run(c.name+"/"+tr.String(), func(t *testing.T) {
				addr := harness.Peer(t, func(c *net.TCPConn) { doubleReplies(c, s.Addr) })
				opts := append([]client.Option{client.WithTransportProtocol(kitextransport.TTHeader)}, opts...)
				err := callBriefly(harness.EchoClient(t, tr, addr, opts...))
				if e := new(thrift.Error); !errors.As(err, &e) || e.Kind != thrift.TrailingBytes {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// doubleReplies passes on what a client and a server send each other, and puts each reply twice
// into its frame.
func doubleReplies(c *net.TCPConn, addr net.Addr) {
	defer c.Close()
	s, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		_, _ = io.Copy(s, c)
		_ = s.(*net.TCPConn).CloseWrite()
	}()
	for {
		frame := make([]byte, 4)
		if _, err := io.ReadFull(s, frame); err != nil {
			return
		}
		frame = append(frame, make([]byte, binary.BigEndian.Uint32(frame))...)
		if _, err := io.ReadFull(s, frame[4:]); err != nil {
			return
		}
		payload := frame[14+4*int(binary.BigEndian.Uint16(frame[12:])):]
		if start := cat([]byte{0x80, 1, 0, reply}, str("Echo")); bytes.HasPrefix(payload, start) {
			payload = framed(payload)
			frame = cat(frame[:len(frame)-len(payload)+4], payload, payload)
		} else if len(payload) > 4 && bytes.HasPrefix(payload[4:], start) {
			frame = cat(frame, payload)
		}
		binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
		if _, err := c.Write(frame); err != nil {
			return
		}
	}
}
