package interop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

// muxCallers is how many calls a cell has in flight, from the first on.
const muxCallers = 200

// muxPairs are all clients with all servers, with Kiteline on one side and at least one side that
// multiplexes or could.
var muxPairs = []pair{
	{harness.KitelineMux, harness.Kiteline, "tcp"},
	{harness.KitelineMux, harness.Netpoll, "tcp"},
	{harness.KitelineMux, harness.NetpollMux, "tcp"},
	{harness.KitelineMux, harness.Gonet, "tcp"},
	{harness.Kiteline, harness.Kiteline, "tcp"},
	{harness.Kiteline, harness.Netpoll, "tcp"},
	{harness.Kiteline, harness.NetpollMux, "tcp"},
	{harness.Kiteline, harness.Gonet, "tcp"},
	{harness.Netpoll, harness.Kiteline, "tcp"},
	{harness.NetpollMux, harness.Kiteline, "tcp"},
	{harness.KitelineMux, harness.Kiteline, "unix"},
	{harness.KitelineMux, harness.Netpoll, "unix"},
}

// Peers that multiplex and peers that do not understand each other from the first call on, many
// calls at a time: a client does not know what the server does before it answers.
func TestMultiplexing(t *testing.T) {
	t.Parallel()
	for _, p := range muxPairs {
		for _, timeout := range []time.Duration{0, 20 * time.Second} {
			t.Run(fmt.Sprintf("%v to %v over %s timeout %v", p.client, p.server, p.network, timeout), func(t *testing.T) {
				t.Parallel()
				service := new(harness.Service)
				s := harness.Start(t, harness.ServerConfig{
					Transport: p.server, Listener: harness.Listen(t, p.network), New: harness.NewEcho(service), QuickStop: true,
				})
				opts := []client.Option{client.WithTransportProtocol(transport.TTHeader)}
				if timeout > 0 {
					opts = append(opts, client.WithRPCTimeout(timeout))
				}
				cli := harness.EchoClient(t, p.client, s.Addr, opts...)
				if p.client == harness.NetpollMux {
					// It opens connections that it forgets if its first calls come at once
					// (netpollmux/mux_pool.go, Get).
					if err := harness.CallEcho(context.Background(), cli, 0); err != nil {
						t.Fatal(err)
					}
				}
				calls := max(callsPerCell(), 2*muxCallers)
				errs := make([]error, muxCallers)
				var wg sync.WaitGroup
				for caller := range muxCallers {
					wg.Go(func() {
						for n := caller; n < calls && errs[caller] == nil; n += muxCallers {
							errs[caller] = harness.CallAny(context.Background(), cli, n)
						}
					})
				}
				wg.Wait()
				if err := errors.Join(errs...); err != nil {
					t.Error(err)
				}
				checkOneway(t, service, cli)
			})
		}
	}
}

// A call without a reply may be the first: it says nothing about the server, and the calls after it
// must find out.
func TestMultiplexingOnewayFirst(t *testing.T) {
	t.Parallel()
	for _, serverOn := range []harness.Transport{harness.Kiteline, harness.Netpoll, harness.NetpollMux, harness.Gonet} {
		t.Run(serverOn.String(), func(t *testing.T) {
			t.Parallel()
			service := new(harness.Service)
			s := harness.Start(t, harness.ServerConfig{Transport: serverOn, New: harness.NewEcho(service), QuickStop: true})
			cli := harness.EchoClient(t, harness.KitelineMux, s.Addr)
			checkOneway(t, service, cli)
			if err := callAll(cli, 40); err != nil {
				t.Error(err)
			}
			checkOneway(t, service, cli)
		})
	}
}
