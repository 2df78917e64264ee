package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// A server that was restarted on the same port costs no call, although the client's pool holds
// connections to the old one: the pool notices that they are closed before it uses them.
func TestRestartWithPooledConnections(t *testing.T) {
	t.Parallel()
	for _, serverOn := range harness.Both {
		t.Run(fmt.Sprintf("%v server", serverOn), func(t *testing.T) {
			t.Parallel()
			ln := harness.Listen(t, "tcp")
			addr := ln.Addr()
			s := harness.Start(t, harness.ServerConfig{Transport: serverOn, Listener: ln, New: harness.NewEcho(new(harness.Service))})
			cli := harness.EchoClient(t, harness.Kiteline, addr)
			for round := range 3 {
				if err := callAtOnce(cli, 8); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
				s.MustStop()
				s = harness.Start(t, harness.ServerConfig{
					Transport: serverOn, Listener: harness.ListenAgain(t, addr), New: harness.NewEcho(new(harness.Service)),
				})
				if err := callAtOnce(cli, 8); err != nil {
					t.Errorf("round %d, after the restart: %v", round, err)
				}
			}
		})
	}
}

func callAtOnce(cli echoservice.Client, calls int) error {
	errs := make([]error, calls)
	var wg sync.WaitGroup
	for n := range calls {
		wg.Go(func() { errs[n] = harness.CallEcho(context.Background(), cli, n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// With TTHeader and Kitex's meta handlers on both sides a server may stop under load without a
// failed call, if another serves the same port: its last replies tell the client to drop the
// connections (default_server_handler.go, crrst).
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	old := startReusing(t, harness.Kiteline, harness.Refused(t)) // a port that is free now
	cli := harness.EchoClient(t, harness.Kiteline, old.Addr, client.WithTransportProtocol(transport.TTHeader),
		client.WithMetaHandler(transmeta.ClientTTHeaderHandler), client.WithRPCTimeout(testkit.Patience/2))
	callers := harness.KeepCalling("a call", 4, func(n int) error { return harness.CallEcho(context.Background(), cli, n) })
	testkit.Eventually(t, "calls are made", func() bool { return callers.Calls() > 100 })
	startReusing(t, harness.Kiteline, old.Addr)
	old.MustStop()
	seen := callers.Calls()
	testkit.Eventually(t, "calls go on", func() bool { return callers.Calls() > seen+100 })
	callers.Finish(t)
}

// startReusing starts a server that shares its port with others.
func startReusing(t *testing.T, tr harness.Transport, addr net.Addr) *harness.Server {
	t.Helper()
	return harness.Start(t, harness.ServerConfig{
		Transport: tr, Addr: addr, SharesPort: true, New: harness.NewEcho(new(harness.Service)),
		Options: []server.Option{server.WithReusePort(true), server.WithMetaHandler(transmeta.ServerTTHeaderHandler)},
	})
}

// WithReusePort lets two servers share a port, and both get connections.
func TestReusePort(t *testing.T) {
	t.Parallel()
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			t.Parallel()
			first := startReusing(t, tr, harness.Refused(t))
			firstBefore := first.Connections.Accepted()
			second := startReusing(t, tr, first.Addr)
			cli := harness.EchoClient(t, tr, first.Addr, client.WithShortConnection())
			n := 0
			testkit.Eventually(t, "both servers got calls", func() bool {
				n++
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Fatal(err)
				}
				return first.Connections.Accepted() > firstBefore+5 && second.Connections.Accepted() > 5
			})
		})
	}
}
