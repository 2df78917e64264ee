//go:build !windows

package transport

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/conn"
)

// benchTransport is a transport for calls, with a running server.
type benchTransport struct {
	name    string
	address string
	options []client.Option
}

// startTransports serves the echo service on Kiteline and on Kitex's default transport.
func startTransports(b *testing.B) []benchTransport {
	b.Helper()
	serving, calling := newDefaultGroup(b), newDefaultGroup(b)
	return []benchTransport{
		{"kiteline", startEcho(b, serving), []client.Option{client.WithSuite(NewClientSuite(WithGroup(calling)))}},
		{"netpoll", startStockEcho(b), nil},
	}
}

// newDefaultGroup starts a group as suites have it by default, and ends it with the benchmark. Each
// side has its own group, as in separate processes: the limit on lingering is per group.
func newDefaultGroup(b *testing.B) *conn.Group {
	b.Helper()
	g, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := g.Close(); err != nil {
			b.Error(err)
		}
	})
	return g
}

// startStockEcho is startEcho on Kitex's default transport.
func startStockEcho(b *testing.B) (address string) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	signal, running := whenRunning()
	srv := echoservice.NewServer(&echoHandler{}, server.WithListener(ln), signal)
	served := make(chan error, 1)
	go func() { served <- srv.Run() }()
	receive(b, "running server", running)
	b.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			b.Error(err)
		}
		if err := receive(b, "Run", served); err != nil {
			b.Error(err)
		}
	})
	return ln.Addr().String()
}

// BenchmarkCall measures what a pooled Kitex call costs, with both sides in this process, next to
// Kitex's default transport. It varies the size, the number of callers, and whether the call has an
// RPC timeout, for which Kitex runs it on a second goroutine.
func BenchmarkCall(b *testing.B) {
	captureLogs(b)
	transports := startTransports(b)
	for _, call := range []struct {
		size, callers int
		timeout       time.Duration
	}{
		{1 << 10, 1, 0},
		{1 << 10, 1, 10 * time.Second},
		{1 << 10, 16, 0},
		{1 << 10, 16, 10 * time.Second},
		{64 << 10, 1, 0},
	} {
		timeout := "none"
		if call.timeout > 0 {
			timeout = call.timeout.String()
		}
		for _, tr := range transports {
			b.Run(fmt.Sprintf("%s/callers=%d/timeout=%s/transport=%s", sizeName(call.size), call.callers, timeout, tr.name), func(b *testing.B) {
				opts := append([]client.Option{
					client.WithRPCTimeout(call.timeout),
					client.WithLongConnection(connpool.IdleConfig{MaxIdlePerAddress: 100, MaxIdleGlobal: 100, MaxIdleTimeout: time.Minute}),
				}, tr.options...)
				c, _ := newEcho(b, tr.address, opts...)
				loopCalls(b, c, payload(call.size).Payload, call.callers)
			})
		}
	}
}

// loopCalls measures calls made by so many callers, after a first call.
func loopCalls(b *testing.B, c echoservice.Client, request *echo.Payload, callers int) {
	ctx := context.Background()
	if _, err := c.EchoPayload(ctx, request); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(2 * int64(len(request.Data)))
	b.ReportAllocs()
	if callers == 1 {
		for b.Loop() {
			if _, err := c.EchoPayload(ctx, request); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	procs := runtime.GOMAXPROCS(0)
	b.SetParallelism((callers + procs - 1) / procs)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.EchoPayload(ctx, request); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
