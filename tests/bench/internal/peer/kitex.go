package peer

import (
	"context"
	"net"
	"sync"
	"time"

	kitexclient "github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote/trans/gonet"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	kiteline "github.com/kiteline/kiteline/transport"
)

// connectTimeout replaces Kitex's 50 ms, in which not all of a thousand callers that begin together
// get their connection.
const connectTimeout = 5 * time.Second

// quieten keeps Kitex's messages about each start and stop out of the output.
var quieten = sync.OnceFunc(func() { klog.SetLevel(klog.LevelWarn) })

// variant is what distinguishes one Kitex service from the next: the transport.
type variant struct {
	server []server.Option
	client []kitexclient.Option
}

// apply adds options to a variant. Its client is for that many callers.
type apply func(v *variant, callers int)

// pooled keeps a connection for every caller; by default Kitex keeps ten, and dials for the others
// at each call.
func pooled(v *variant, callers int) {
	v.client = append(v.client, kitexclient.WithLongConnection(connpool.IdleConfig{
		MaxIdlePerAddress: callers, MaxIdleGlobal: callers, MaxIdleTimeout: time.Minute,
	}))
}

func withKiteline(opts ...kiteline.Option) apply {
	var ofServer []kiteline.ServerOption
	var ofClient []kiteline.ClientOption
	for _, opt := range opts {
		ofServer, ofClient = append(ofServer, opt), append(ofClient, opt)
	}
	return func(v *variant, _ int) {
		v.server = append(v.server, server.WithSuite(kiteline.NewServerSuite(ofServer...)))
		v.client = append(v.client, kitexclient.WithSuite(kiteline.NewClientSuite(ofClient...)))
	}
}

func withKitelineMux(v *variant, _ int) {
	v.server = append(v.server, server.WithSuite(kiteline.NewServerSuite()))
	v.client = append(v.client, kitexclient.WithSuite(kiteline.NewMuxClientSuite()))
}

func withGonet(v *variant, _ int) {
	v.server = append(v.server, server.WithTransServerFactory(gonet.NewTransServerFactory()),
		server.WithTransHandlerFactory(gonet.NewSvrTransHandlerFactory()))
	v.client = append(v.client, kitexclient.WithDialer(gonet.NewDialer()),
		kitexclient.WithTransHandlerFactory(gonet.NewCliTransHandlerFactory()))
}

func withMux(connections int) apply {
	return func(v *variant, _ int) {
		v.server = append(v.server, server.WithMuxTransport())
		v.client = append(v.client, kitexclient.WithMuxConnection(connections))
	}
}

// overThrift is Kitex with the Thrift service.
func overThrift(name string, parts ...apply) RPC {
	build := func(callers int) (v variant) {
		for _, add := range parts {
			add(&v, callers)
		}
		return v
	}
	serve := func(ln net.Listener, service echo.EchoService) {
		quieten()
		opts := append(build(0).server, server.WithListener(ln))
		run(name, echoservice.NewServer(service, opts...).Run)
	}
	dial := func(addr string, callers int, timeout time.Duration) (echoservice.Client, error) {
		quieten()
		opts := append(build(callers).client, clientOptions(addr, timeout)...)
		return echoservice.NewClient("echo", opts...)
	}
	return RPC{
		Name: name,
		Serve: func(ln net.Listener, work func()) error {
			serve(ln, &payloadService{work: orNone(work)})
			return nil
		},
		Relay: func(ln net.Listener, back string, callers int) error {
			c, err := dial(back, callers, 0)
			if err == nil {
				serve(ln, &relayService{back: c})
			}
			return err
		},
		Dial: func(addr string, callers int, timeout time.Duration) (Client, error) {
			c, err := dial(addr, callers, timeout)
			if err != nil {
				return nil, err
			}
			return payloadClient(c), nil
		},
	}
}

// clientOptions are the options of every Kitex client. Without a timeout here there is none:
// Kitex's RPC timeout is off unless it is set.
func clientOptions(addr string, timeout time.Duration) []kitexclient.Option {
	opts := []kitexclient.Option{
		kitexclient.WithHostPorts(addr),
		kitexclient.WithConnectTimeout(connectTimeout),
	}
	if timeout > 0 {
		opts = append(opts, kitexclient.WithRPCTimeout(timeout))
	}
	return opts
}

// orNone returns work, or a function that does nothing for nil.
func orNone(work func()) func() {
	if work == nil {
		return func() {}
	}
	return work
}

// payloadService answers only EchoPayload.
type payloadService struct {
	echo.EchoService

	work func()
}

// EchoPayload implements echo.EchoService.
func (s *payloadService) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	s.work()
	return p, nil
}

// relayService answers EchoPayload with what another service answers.
type relayService struct {
	echo.EchoService

	back echoservice.Client
}

// EchoPayload implements echo.EchoService.
func (s *relayService) EchoPayload(ctx context.Context, p *echo.Payload) (*echo.Payload, error) {
	return s.back.EchoPayload(ctx, p)
}

func payloadClient(c echoservice.Client) client {
	return func(data []byte) call {
		request := &echo.Payload{Data: data}
		return func(ctx context.Context) ([]byte, error) {
			reply, err := c.EchoPayload(ctx, request)
			if err != nil {
				return nil, err
			}
			return reply.Data, nil
		}
	}
}
