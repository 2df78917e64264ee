//go:build linux && !nopoller

package hardening

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// Thousands of shared connections, a few to each address, have no goroutines while they are idle,
// and little memory, in the client's process and in the server's. They still work: a call that
// finds one gets its reply, and the end of all of them is noticed.
func TestIdleSharedConnections(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8")
	}
	const each = 8       // connections to an address
	const most = 4 << 10 // bytes for a connection
	const warm = 20      // addresses for a warm-up, which makes what exists only once
	const workers = 100  // goroutines that may stay for a while, however many connections there are
	connections := testkit.Scale(1000, 10_000)
	promise.Alone(t)
	server, addr := startServer(t, "loopback=20")
	// The pool looks four times per heartbeat, and drops the memory that calls needed after one.
	conns := pool.NewMux("echo", pool.MuxConfig{MaxConns: each, IdleTimeout: -1, Heartbeat: testkit.Scale(2*time.Second, 0)})
	cli := harness.CustomClient(t, echoservice.NewClient, client.WithHostPorts(addr.String()),
		client.WithConnectTimeout(testkit.Patience), client.WithTransportProtocol(transport.TTHeader),
		client.WithSuite(kiteline.NewMuxClientSuite()), client.WithConnPool(conns))
	peers := idlePeers{cli: cli, port: addr.(*net.TCPAddr).Port, each: each}
	shared := func() int { return conns.Stats().Shared }
	open := func(first, next int) {
		testkit.Eventually(t, "all connections are shared", func() bool {
			peers.call(t, first, next)
			return shared() == each*next
		})
	}
	open(0, warm)
	goroutines, heap := runtime.NumGoroutine(), harness.LiveHeap()
	theirGoroutines, theirHeap := server.AskNumber("goroutines"), server.AskNumber("heap")
	open(warm, warm+connections/each)
	testkit.Eventually(t, "the client has no goroutines for them", func() bool { return runtime.NumGoroutine() <= goroutines+workers })
	testkit.Eventually(t, "the server has no goroutines for them", func() bool { return server.AskNumber("goroutines") <= theirGoroutines+workers })
	check := func(side string, before int64, now func() int64) {
		var bytes int64
		held := testkit.Holds(func() bool { bytes = (now() - before) / int64(connections); return bytes <= most })
		promise.Check(t, fmt.Sprintf("%d idle shared connections: memory for each, %s", connections, side),
			fmt.Sprintf("<= %d bytes", most), fmt.Sprintf("%d bytes", bytes), held)
	}
	check("client", heap, harness.LiveHeap)
	check("server", theirHeap, func() int64 { return server.AskNumber("heap") })
	peers.call(t, warm, 2*warm)
	if got, want := shared(), each*warm+connections; got != want {
		t.Errorf("%d shared connections after calls on some, want %d", got, want)
	}
	server.Kill()
	testkit.Settles(t, "shared connections after the server's end", shared, 0)
}

// idlePeers are addresses of one server.
type idlePeers struct {
	cli  echoservice.Client
	port int
	each int // calls at a time
}

// call makes calls to the addresses from first on, before next.
func (p *idlePeers) call(t *testing.T, first, next int) {
	t.Helper()
	const callers = 32 // addresses at a time
	var calling sync.WaitGroup
	for caller := range callers * p.each {
		calling.Go(func() {
			for n := first + caller/p.each; n < next; n += callers {
				peer := fmt.Sprintf("127.%d.%d.%d:%d", 1+n/62_500, 1+n/250%250, 1+n%250, p.port)
				if _, err := p.cli.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{}}, callopt.WithHostPort(peer)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	calling.Wait()
}
