package interop

import (
	"context"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/idl/kitex_gen/echopb/echostreamservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// One port serves Thrift in every framing and gRPC at the same time: the server detects a
// connection's protocol by its first bytes (detection/server_handler.go).
func TestOnePort(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.ServerConfig{
		Transport: harness.Kiteline,
		New: func(opts ...server.Option) server.Server {
			kitex := server.NewServer(append(opts, server.WithCompatibleMiddlewareForUnary())...)
			// Both services have a method Echo; calls without a service's name are for this one.
			if err := echoservice.RegisterService(kitex, new(harness.Service), server.WithFallbackService()); err != nil {
				t.Fatal(err)
			}
			if err := echostreamservice.RegisterService(kitex, new(pbStreamService)); err != nil {
				t.Fatal(err)
			}
			return kitex
		},
	})
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			var wg sync.WaitGroup
			for _, protocol := range protocols {
				cli := harness.EchoClient(t, tr, s.Addr, client.WithTransportProtocol(protocol))
				wg.Go(func() {
					if err := callAll(cli, callsPerCell()); err != nil {
						t.Errorf("%v: %v", protocol, err)
					}
				})
			}
			cli := harness.Client(t, echostreamservice.NewClient, tr, s.Addr, client.WithTransportProtocol(transport.GRPC))
			wg.Go(func() {
				for range 5 {
					if err := callGRPC(cli); err != nil {
						t.Errorf("gRPC: %v", err)
					}
				}
			})
			wg.Wait()
			if err := harness.CallEcho(context.Background(), harness.EchoClient(t, tr, s.Addr), 0); err != nil {
				t.Error(err)
			}
		})
	}
}
