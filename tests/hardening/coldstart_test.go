package hardening

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// startLoad makes a client that knows nothing of its server yet make more calls at once than the
// server can bear, each within timeout.
func startLoad(t *testing.T, cfg pool.MuxConfig, timeout time.Duration) (server *harness.Child, conns *pool.Mux, load *harness.Load) {
	t.Helper()
	server, addr := startServer(t, fmt.Sprintf("slots=%d", slots))
	conns = pool.NewMux("echo", cfg)
	stub := harness.CustomClient(t, echoservice.NewClient, client.WithHostPorts(addr.String()), client.WithRPCTimeout(timeout),
		client.WithConnectTimeout(testkit.Patience), client.WithTransportProtocol(transport.TTHeader),
		client.WithSuite(kiteline.NewMuxClientSuite()), client.WithConnPool(conns))
	return server, conns, harness.StartLoad(t, 2*capacity, func(int) error {
		_, err := stub.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{}})
		return err
	})
}

// A client that starts under load opens connections before it knows that its server multiplexes. It
// does not keep more than it may.
func TestColdStartUnderLoad(t *testing.T) {
	if !testkit.Long {
		t.Skip("takes the load that the other promises are measured under: -tags long")
	}
	promise.Among(t)
	server, conns, load := startLoad(t, pool.MuxConfig{MaxConns: muxConns}, deadline)
	var most int
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		most = 0 // only what is left at the end counts
		for _, stats := range conns.Stats().Addresses {
			most += stats.Connections - stats.Draining
		}
	}
	load.Stop()
	server.Kill() // its remaining work is not worth a wait
	promise.Check(t, "multiplexed, cold start under load: connections after 5 s", fmt.Sprintf("<= %d", muxConns), fmt.Sprint(most), most <= muxConns)
}

// The server must still answer calls whose callers gave up: they count among those in flight.
// Otherwise a server that is too slow for a while gets more and more of them, and answers none in
// time.
func TestAbandonedCallsAreBounded(t *testing.T) {
	if !testkit.Long {
		t.Skip("takes the load that the other promises are measured under: -tags long")
	}
	promise.Among(t)
	server, conns, load := startLoad(t, pool.MuxConfig{MaxConns: muxConns, MaxInFlight: muxInFlight}, 50*time.Millisecond)
	var most, open int
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		for _, stats := range conns.Stats().Addresses {
			if n := stats.InFlight + stats.Abandoned; n > most {
				most, open = n, stats.Connections
			}
		}
	}
	load.Stop()
	server.Kill() // its remaining work is not worth a wait
	promise.Check(t, "multiplexed, timed out: calls that a server still has", fmt.Sprintf("<= %d on each connection", muxInFlight),
		fmt.Sprintf("%d on %d connections", most, open), most <= open*muxInFlight)
}
