package apache_test

import (
	"context"
	"errors"
	"net"
	"reflect"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	kserver "github.com/cloudwego/kitex/server"
	ktransport "github.com/cloudwego/kitex/transport"

	codec "github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
	"github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// serviceInfo describes two methods to Kitex as its generator does, with Apache's structs.
func serviceInfo() *serviceinfo.ServiceInfo {
	return &serviceinfo.ServiceInfo{
		ServiceName:  "EchoService",
		HandlerType:  (*echo.EchoService)(nil),
		PayloadCodec: serviceinfo.Thrift,
		Methods: map[string]serviceinfo.MethodInfo{
			"Echo": serviceinfo.NewMethodInfo(
				func(ctx context.Context, handler, args, result any) error {
					response, err := handler.(echo.EchoService).Echo(ctx, args.(*echo.EchoServiceEchoArgs).Request)
					result.(*echo.EchoServiceEchoResult).Success = response
					return err
				},
				func() any { return echo.NewEchoServiceEchoArgs() }, func() any { return echo.NewEchoServiceEchoResult() }, false),
			"Find": serviceinfo.NewMethodInfo(
				func(ctx context.Context, handler, args, result any) error {
					m, err := handler.(echo.EchoService).Find(ctx, args.(*echo.EchoServiceFindArgs).Key)
					var missing *echo.NotFound
					if errors.As(err, &missing) {
						result.(*echo.EchoServiceFindResult).NotFound = missing
						return nil
					}
					result.(*echo.EchoServiceFindResult).Success = m
					return err
				},
				func() any { return echo.NewEchoServiceFindArgs() }, func() any { return echo.NewEchoServiceFindResult() }, false),
		},
	}
}

// register registers once, however often the tests run.
var register = sync.OnceValue(apache.Register)

// TestKitex uses Apache's structs in a Kitex service and client, through the default codec after
// Register, and through one with Family. An Apache client calls the service too.
func TestKitex(t *testing.T) {
	if err := register(); err != nil {
		t.Fatal(err)
	}
	if err := apache.Register(); !errors.Is(err, apache.ErrRegistered) {
		t.Errorf("registered twice: %v", err)
	}
	codecs := map[string]remote.PayloadCodec{
		"registered": nil, "family": codec.NewPayloadCodec(codec.Config{Families: []codec.Family{apache.Family()}}),
	}
	protocols := map[string]ktransport.Protocol{
		"framed": ktransport.Framed, "buffered": ktransport.PurePayload, "TTHeader": ktransport.TTHeaderFramed,
	}
	for name, payload := range codecs {
		addr, group := startKitex(t, payload)
		for protocolName, protocol := range protocols {
			t.Run(name+" "+protocolName, func(t *testing.T) { callKitex(t, addr, group, payload, protocol) })
		}
		for _, w := range []apache.Wire{apache.WireFramedBinary, apache.WireUnframedBinary} {
			t.Run(name+" Apache "+w.String(), func(t *testing.T) {
				c, err := apache.Dial(t.Context(), apache.ClientConfig{Address: addr, Wire: w})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				checkKitex(t, echo.NewEchoServiceClient(c).Echo, echo.NewEchoServiceClient(c).Find)
			})
		}
	}
}

// startKitex serves serviceInfo. A nil codec is the default one.
func startKitex(t *testing.T, payload remote.PayloadCodec) (addr string, group *conn.Group) {
	t.Helper()
	group, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opts := []kserver.Option{
		kserver.WithSuite(transport.NewServerSuite(transport.WithGroup(group))), kserver.WithListener(ln),
		kserver.WithExitSignal(func() <-chan error { return make(chan error) }),
	}
	if payload != nil {
		opts = append(opts, kserver.WithPayloadCodec(payload))
	}
	svr := kserver.NewServer(opts...)
	if err := svr.RegisterService(serviceInfo(), &service{stored: map[string]*echo.Message{"k": message()}}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- svr.Run() }()
	t.Cleanup(func() {
		_ = svr.Stop()
		<-done
		_ = group.Close()
	})
	return ln.Addr().String(), group
}

func callKitex(t *testing.T, addr string, group *conn.Group, payload remote.PayloadCodec, protocol ktransport.Protocol) {
	t.Helper()
	opts := []client.Option{
		client.WithSuite(transport.NewClientSuite(transport.WithGroup(group))), client.WithHostPorts(addr),
		client.WithConnectTimeout(patience), client.WithTransportProtocol(protocol), client.WithDestService("EchoService"),
	}
	if payload != nil {
		opts = append(opts, client.WithPayloadCodec(payload))
	}
	c, err := client.NewClient(serviceInfo(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	if closer, ok := c.(interface{ Close() error }); ok {
		defer func() { _ = closer.Close() }()
	}
	call := func(ctx context.Context, method string, args, result any) error {
		return c.Call(ctx, method, args, result)
	}
	checkKitex(t,
		func(ctx context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
			result := echo.NewEchoServiceEchoResult()
			err := call(ctx, "Echo", &echo.EchoServiceEchoArgs{Request: r}, result)
			return result.Success, err
		},
		func(ctx context.Context, key string) (*echo.Message, error) {
			result := echo.NewEchoServiceFindResult()
			err := call(ctx, "Find", &echo.EchoServiceFindArgs{Key: key}, result)
			if result.NotFound != nil {
				return nil, result.NotFound
			}
			return result.Success, err
		})
}

func checkKitex(t *testing.T, callEcho func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error),
	find func(context.Context, string) (*echo.Message, error),
) {
	t.Helper()
	for _, size := range []int{3, 5000, 1 << 20} {
		want := message()
		want.Attachment = deep("x", size)
		r, err := callEcho(t.Context(), &echo.EchoRequest{Message: want})
		if err != nil || !reflect.DeepEqual(r.Message, want) {
			t.Fatalf("Echo with %d bytes: %v", size, err)
		}
	}
	if m, err := find(t.Context(), "k"); err != nil || !reflect.DeepEqual(m, message()) {
		t.Errorf("Find: %v, %v", m, err)
	}
	var missing *echo.NotFound
	if _, err := find(t.Context(), "other"); !errors.As(err, &missing) || missing.Key != "other" {
		t.Errorf("Find of a missing key: %v", err)
	}
}

// TestFamily reads what it writes, and refuses hostile bytes with the codec's own error.
func TestFamily(t *testing.T) {
	f := apache.Family()
	if !f.Has(reflect.TypeFor[*echo.Message]()) || f.Has(reflect.TypeFor[*testing.T]()) {
		t.Error("the wrong types are of the family")
	}
	var memory buffer.LinkBuffer
	want := message()
	want.Attachment = deep("x", 10_000)
	check(f.Marshal(&memory, want))
	check(memory.Flush())
	wire, err := memory.ReadBinary(memory.Len())
	check(err)
	var got echo.Message
	n, err := f.Unmarshal(append(wire, "more"...), &got, codec.Limits{})
	if err != nil || n != len(wire) || !reflect.DeepEqual(&got, want) {
		t.Errorf("read %d of %d bytes: %v, %v", n, len(wire), &got, err)
	}
	for _, h := range hostile {
		if h.compact || h.name == "bytes behind the end" || h.name == "required field missing" {
			continue
		}
		var args echo.EchoServiceEchoArgs
		_, err := f.Unmarshal(h.body, &args, codec.Limits{})
		var bad *codec.Error
		if !errors.As(err, &bad) || bad.TypeID() != int32(h.want) {
			t.Errorf("%s: got %v (%T), want type %d", h.name, err, err, h.want)
		}
	}
	if _, err := f.Unmarshal(wire, &got, codec.Limits{MaxContainer: 1}); err == nil {
		t.Error("read above the limit")
	}
	if _, err := f.Unmarshal(wire, t, codec.Limits{}); err == nil {
		t.Error("read into something else")
	}
	if err := f.Marshal(&memory, t); err == nil {
		t.Error("wrote something else")
	}
}
