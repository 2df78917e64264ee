package peer

import (
	"context"
	"net"
	"time"

	kitexclient "github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	"github.com/kiteline/kiteline/idl/kitex_gen/echopb/echoservice"
)

// serveKitexGRPC serves Kitex's gRPC. Kitex tells it from its other protocols by the first bytes of
// a connection.
func serveKitexGRPC(ln net.Listener, work func()) error {
	quieten()
	run("kitex-grpc", echoservice.NewServer(&requestService{work: orNone(work)}, server.WithListener(ln)).Run)
	return nil
}

// dialKitexGRPC leaves the connections to Kitex: up to three for two processors, shared by all
// callers.
func dialKitexGRPC(addr string, _ int, timeout time.Duration) (Client, error) {
	quieten()
	opts := append(clientOptions(addr, timeout), kitexclient.WithTransportProtocol(transport.GRPC))
	c, err := echoservice.NewClient("echo", opts...)
	if err != nil {
		return nil, err
	}
	return requestClient(c), nil
}

// requestService answers with the bytes of the request.
type requestService struct{ work func() }

// Echo implements echopb.EchoService.
func (s *requestService) Echo(_ context.Context, r *echopb.Request) (*echopb.Response, error) {
	s.work()
	return &echopb.Response{Data: r.Data}, nil
}

func requestClient(c echoservice.Client) client {
	return func(data []byte) call {
		request := &echopb.Request{Data: data}
		return func(ctx context.Context) ([]byte, error) {
			reply, err := c.Echo(ctx, request)
			if err != nil {
				return nil, err
			}
			return reply.Data, nil
		}
	}
}
