package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/limiter"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/bound"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/trans/gonet"
	"github.com/cloudwego/kitex/pkg/remote/trans/netpoll"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	pbservice "github.com/kiteline/kiteline/idl/kitex_gen/echopb/echoservice"
	"github.com/kiteline/kiteline/internal/stock"
	"github.com/kiteline/kiteline/transport/pool"
)

// stockOptions returns options for a server without Kiteline, on the transport that Kitex chooses.
func stockOptions() []server.Option {
	if runtime.GOOS == "windows" {
		return gonetOptions()
	}
	return []server.Option{
		server.WithTransServerFactory(netpoll.NewTransServerFactory()),
		server.WithTransHandlerFactory(netpoll.NewSvrTransHandlerFactory()),
		stock.OnceListening(),
	}
}

func gonetOptions() []server.Option {
	return []server.Option{
		server.WithTransServerFactory(gonet.NewTransServerFactory()),
		server.WithTransHandlerFactory(gonet.NewSvrTransHandlerFactory()),
		server.WithExitWaitTime(100 * time.Millisecond), // Kitex always takes all of it
	}
}

// needNetpoll skips a test that needs netpoll on Windows, where every function of netpoll returns
// nil.
func needNetpoll(t testing.TB) {
	if runtime.GOOS == "windows" {
		t.Helper()
		t.Skip("netpoll has no port to Windows")
	}
}

// TestMuxStockServers makes 1,000 calls at a time to servers that know nothing of Kiteline.
func TestMuxStockServers(t *testing.T) {
	captureLogs(t)
	for name, opts := range map[string][]server.Option{
		"netpoll":    stockOptions(),
		"netpollmux": {server.WithTransServerFactory(netpoll.NewTransServerFactory()), server.WithMuxTransport(), stock.OnceListening()},
		"gonet":      gonetOptions(),
	} {
		t.Run(name, func(t *testing.T) {
			if name != "gonet" {
				needNetpoll(t)
			}
			svc := startService(t, newTestGroup(t), &serviceFuncs{}, opts...)
			c, conns := newSharedClient(t, svc.address, pool.MuxConfig{}, client.WithRPCTimeout(patience))
			var callers sync.WaitGroup
			for caller := range 1000 {
				callers.Go(func() {
					for i := range 3 {
						label := fmt.Sprint(caller, "/", i)
						p, err := c.EchoPayload(context.Background(), &echo.Payload{Label: label, Data: make([]byte, i*3000)})
						if err != nil || p.Label != label || len(p.Data) != i*3000 {
							t.Errorf("%s: got %v, %v", label, labelOf(p), err)
						}
					}
				})
			}
			callers.Wait()
			if err := c.Notify(context.Background(), &echo.Message{Text: "oneway"}); err != nil {
				t.Error(err)
			}
			st := onlyStats(t, conns)
			if st.Shared != 0 || st.Pooled == 0 || st.InFlight != 0 || st.LateReplies != 0 {
				t.Errorf("got %+v, want a pool", st)
			}
			if err := conns.Close(); err != nil { // or gonet would wait
				t.Error(err)
			}
		})
	}
}

// TestMuxProtobuf makes Kitex-Protobuf calls over shared connections, refused ones too.
func TestMuxProtobuf(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	svc := startProtobuf(t, server.WithBoundHandler(bound.NewServerLimiterHandler(&limiter.DummyConcurrencyLimiter{}, new(everyOther), nil, false)))
	var seen clientOptions
	c, err := pbservice.NewClient("echopb", client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)))), client.WithHostPorts(svc.address), client.WithConnectTimeout(patience), seen.option())
	if err != nil {
		t.Fatal(err)
	}
	conns := seen.o.RemoteOpt.ConnPool.(*pool.Mux)
	defer conns.Close()
	served, refused := 0, 0
	for i := range 20 {
		text := fmt.Sprint("text ", i)
		reply, err := c.Echo(context.Background(), &echopb.Request{Text: text})
		switch {
		case err == nil && reply.Text == text:
			served++
		case err != nil && strings.Contains(err.Error(), "too frequent"):
			refused++
		case err != nil && i == 0: // the first call on the connection, which ends it
		default:
			t.Errorf("got %v, %v", reply, err)
		}
	}
	if served == 0 || refused == 0 || onlyStats(t, conns).Shared != 1 {
		t.Errorf("%d calls served, %d refused, %+v", served, refused, onlyStats(t, conns))
	}
}

// pbEcho is the Protobuf service.
type pbEcho struct{}

func (pbEcho) Echo(_ context.Context, r *echopb.Request) (*echopb.Response, error) {
	return &echopb.Response{Text: r.Text}, nil
}

func startProtobuf(t *testing.T, opts ...server.Option) runningService {
	t.Helper()
	return startServer(t, newTestGroup(t), func(opts ...server.Option) server.Server {
		return pbservice.NewServer(new(pbEcho), opts...)
	}, opts...)
}

// TestMuxGeneric makes calls without generated code over shared connections.
func TestMuxGeneric(t *testing.T) {
	t.Parallel()
	svc := startService(t, newTestGroup(t), &serviceFuncs{})
	newClient := func(t *testing.T, g generic.Generic) (genericclient.Client, *pool.Mux) {
		t.Helper()
		var seen clientOptions
		c, err := genericclient.NewClient("echo", g, client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)))),
			client.WithHostPorts(svc.address), client.WithConnectTimeout(patience), seen.option())
		if err != nil {
			t.Fatal(err)
		}
		conns := seen.o.RemoteOpt.ConnPool.(*pool.Mux)
		t.Cleanup(func() { conns.Close() })
		return c, conns
	}
	t.Run("JSON", func(t *testing.T) {
		p, err := generic.NewThriftFileProvider("../idl/echo.thrift")
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		g, err := generic.JSONThriftGeneric(p)
		if err != nil {
			t.Fatal(err)
		}
		c, conns := newClient(t, g)
		for i := range 5 {
			reply, err := c.GenericCall(context.Background(), "EchoPayload", fmt.Sprintf(`{"label":"label %d"}`, i))
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ Label string }
			if err := json.Unmarshal([]byte(reply.(string)), &got); err != nil || got.Label != fmt.Sprint("label ", i) {
				t.Errorf("got %v, %v", reply, err)
			}
		}
		if st := onlyStats(t, conns); st.Shared != 1 {
			t.Errorf("got %+v", st)
		}
	})
	t.Run("binary", func(t *testing.T) {
		c, conns := newClient(t, generic.BinaryThriftGeneric())
		for i := range 5 {
			args := &echo.EchoServiceEchoPayloadArgs{Payload: &echo.Payload{Label: fmt.Sprint("label ", i)}}
			request, err := thrift.MarshalFastMsg("EchoPayload", thrift.CALL, 1, args)
			if err != nil {
				t.Fatal(err)
			}
			reply, err := c.GenericCall(context.Background(), "EchoPayload", request)
			if err != nil {
				t.Fatal(err)
			}
			var result echo.EchoServiceEchoPayloadResult
			if _, _, err := thrift.UnmarshalFastMsg(reply.([]byte), &result); err != nil || result.Success.Label != fmt.Sprint("label ", i) {
				t.Errorf("got %v, %v", result.Success, err)
			}
		}
		if st := onlyStats(t, conns); st.Shared != 1 {
			t.Errorf("got %+v", st)
		}
	})
}

// markingCodec frames messages in a way of its own.
type markingCodec struct{ remote.Codec }

const codecMark = "\x01own"

func (c markingCodec) Encode(ctx context.Context, m remote.Message, out remote.ByteBuffer) error {
	if _, err := out.WriteString(codecMark); err != nil {
		return err
	}
	return c.Codec.Encode(ctx, m, out)
}

func (c markingCodec) Decode(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if mark, err := in.Next(len(codecMark)); err != nil || string(mark) != codecMark {
		return fmt.Errorf("got %q, %w, want the mark", mark, err)
	}
	return c.Codec.Decode(ctx, m, in)
}

// TestMuxSuiteOptions checks what NewMuxClientSuite does together with other options, and that
// calls succeed.
func TestMuxSuiteOptions(t *testing.T) {
	captureLogs(t)
	g := newTestGroup(t)
	address := startEcho(t, g)
	stockMux := startEcho(t, g, server.WithMuxTransport())
	marked := startEcho(t, g, server.WithCodec(markingCodec{codec.NewDefaultCodec()}))
	suite := client.WithSuite(NewMuxClientSuite(WithGroup(g)))
	pooled, plain := client.WithSuite(NewClientSuite(WithGroup(g))), client.WithSuite(NewMuxClientSuite())
	long := client.WithLongConnection(connpool.IdleConfig{MaxIdlePerAddress: 2, MaxIdleGlobal: 2, MaxIdleTimeout: 3 * time.Second})
	given, ours := pool.New("given", pool.Config{}), pool.NewMux("given", pool.MuxConfig{})
	defer given.Close()
	defer ours.Close()
	for _, tc := range []struct {
		name    string
		opts    []client.Option
		pool    string
		address string
	}{
		{"suite", []client.Option{suite}, "*pool.Mux", address},
		{"suite twice", []client.Option{suite, suite}, "*pool.Mux", address},
		{"pooled suite, suite", []client.Option{pooled, suite}, "*pool.Mux", address},
		{"suite, pooled suite", []client.Option{suite, pooled}, "*pool.Pool", address},
		{"long", []client.Option{suite, long}, "*pool.Mux", address},
		{"short", []client.Option{suite, client.WithShortConnection()}, "*connpool.ShortPool", address},
		{"Framed", []client.Option{suite, client.WithTransportProtocol(kitextransport.Framed)}, "*pool.Mux", address},
		{"PurePayload", []client.Option{suite, client.WithTransportProtocol(kitextransport.PurePayload)}, "*pool.Mux", address},
		{"a pool", []client.Option{suite, client.WithConnPool(given)}, "*pool.Pool", address},
		{"a pool.Mux", []client.Option{suite, client.WithConnPool(ours)}, "*pool.Mux", address},
		{"handlers", []client.Option{suite, client.WithTransHandlerFactory(NewClientTransHandlerFactory())}, "*connpool.LongPool", address},
		{"mux before", []client.Option{client.WithMuxConnection(1), suite}, "*netpollmux.MuxPool", stockMux},
		{"mux after", []client.Option{suite, client.WithMuxConnection(1)}, "*netpollmux.MuxPool", stockMux},
		{"netpoll's dialer", []client.Option{plain, client.WithDialer(netpoll.NewDialer())}, "*pool.Mux", address},
		{"gonet's dialer", []client.Option{plain, client.WithDialer(gonet.NewDialer())}, "*pool.Mux", address},
		{"a codec", []client.Option{suite, client.WithCodec(markingCodec{codec.NewDefaultCodec()})}, "*pool.Pool", marked},
		{"a codec before", []client.Option{client.WithCodec(markingCodec{codec.NewDefaultCodec()}), suite}, "*pool.Pool", marked},
		{"a codec, long", []client.Option{suite, long, client.WithCodec(markingCodec{codec.NewDefaultCodec()})}, "*pool.Pool", marked},
		{"a codec, short", []client.Option{suite, client.WithShortConnection(), client.WithCodec(markingCodec{codec.NewDefaultCodec()})}, "*connpool.ShortPool", marked},
		{"Kitex's codec with a limit", []client.Option{suite, client.WithCodec(codec.NewDefaultCodecWithSizeLimit(1 << 20))}, "*pool.Mux", address},
		{"gRPC", []client.Option{suite, client.WithTransportProtocol(kitextransport.GRPC)}, "*nphttp2.connPool", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "netpoll's dialer" {
				needNetpoll(t)
			}
			c, o := newEcho(t, tc.address, tc.opts...)
			if got := fmt.Sprintf("%T", o.RemoteOpt.ConnPool); got != tc.pool {
				t.Errorf("got %s, want %s", got, tc.pool)
			}
			if tp := o.Configs.TransportProtocol(); tc.name == "gRPC" {
				if tp&kitextransport.TTHeader != 0 {
					t.Errorf("got %v, want no TTHeader", tp)
				}
				return
			}
			for range 3 {
				if got, err := c.Repeat(context.Background(), "x", 3, ""); err != nil || got != "xxx" {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			if conns, ok := o.RemoteOpt.ConnPool.(*pool.Mux); ok && onlyStats(t, conns).Shared != 1 {
				t.Errorf("got %+v, want a shared connection", onlyStats(t, conns))
			}
			if conns, ok := o.RemoteOpt.ConnPool.(*pool.Pool); ok && tc.name == "a codec, long" && conns.Config().MaxIdleTimeout != 3*time.Second {
				t.Errorf("idle for %v, want WithLongConnection's", conns.Config().MaxIdleTimeout)
			}
			if conns, ok := o.RemoteOpt.ConnPool.(*pool.Mux); ok && tc.name == "long" && conns.Config().IdleTimeout != 3*time.Second {
				t.Errorf("idle for %v, want WithLongConnection's", conns.Config().IdleTimeout)
			}
		})
	}
}
