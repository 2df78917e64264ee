//go:build !windows

package transport

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/pool"
)

// BenchmarkMuxCall measures what a Kitex call costs over shared connections, with both sides in
// this process, next to pooled ones.
func BenchmarkMuxCall(b *testing.B) {
	captureLogs(b)
	address := startEcho(b, newDefaultGroup(b))
	group := newDefaultGroup(b)
	for _, callers := range []int{1, 100} {
		for _, timeout := range []time.Duration{0, patience} {
			for name, suite := range map[string]client.Option{
				"shared": client.WithSuite(NewMuxClientSuite(WithGroup(group))),
				"pooled": client.WithSuite(NewClientSuite(WithGroup(group), WithPool(pool.Config{MaxIdlePerAddress: 100, MaxIdleGlobal: 100}))),
			} {
				b.Run(fmt.Sprintf("callers=%d/timeout=%v/%s", callers, timeout, name), func(b *testing.B) {
					c, _ := newEcho(b, address, suite, client.WithRPCTimeout(timeout))
					loopCalls(b, c, payload(1<<10).Payload, callers)
				})
			}
		}
	}
}

// TestMuxAllocations: a call over a shared connection, both sides together, allocates no more than
// a call over a pooled one.
func TestMuxAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("pools drop what they are given")
	}
	address := startEcho(t, newTestGroup(t))
	measure := func(c echoservice.Client) float64 {
		const calls = 2000
		request := payload(1 << 10).Payload
		var before, after runtime.MemStats
		for i := range 2 * calls {
			if i == calls { // until here pools were filling
				runtime.ReadMemStats(&before)
			}
			if _, err := c.EchoPayload(context.Background(), request); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		return float64(after.Mallocs-before.Mallocs) / calls
	}
	shared, conns := newSharedClient(t, address, pool.MuxConfig{})
	share(t, shared, conns)
	pooled := newPooledClient(t, address, client.WithTransportProtocol(kitextransport.TTHeaderFramed))
	got, want := measure(shared), measure(pooled)
	if got > want+0.5 {
		t.Errorf("%.1f allocations per call, %.1f pooled", got, want)
	}
}
