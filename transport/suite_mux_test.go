package transport

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote/trans/netpollmux"
	"github.com/cloudwego/kitex/server"
)

// TestClientSuiteKeepsMux calls concurrently over Kitex's multiplexed
// connections, which need Kitex's handlers on both sides.
func TestClientSuiteKeepsMux(t *testing.T) {
	captureLogs(t)
	g := newTestGroup(t)
	address := startEcho(t, g, server.WithMuxTransport())
	for name, opts := range map[string][]client.Option{
		"suite first": {client.WithSuite(NewClientSuite(WithGroup(g))), client.WithMuxConnection(1)},
		"mux first":   {client.WithMuxConnection(1), client.WithSuite(NewClientSuite(WithGroup(g)))},
		"mux between": {client.WithSuite(NewClientSuite(WithGroup(g))), client.WithMuxConnection(1), client.WithSuite(NewClientSuite(WithGroup(g)))},
	} {
		t.Run(name, func(t *testing.T) {
			c, o := newEcho(t, address, append(opts, client.WithRPCTimeout(time.Second))...)
			if _, ok := o.RemoteOpt.ConnPool.(*netpollmux.MuxPool); !ok {
				t.Errorf("pool: got %T, want Kitex's for mux", o.RemoteOpt.ConnPool)
			}
			if got, want := fmt.Sprintf("%T", o.RemoteOpt.CliHandlerFactory), "*netpollmux.cliTransHandlerFactory"; got != want {
				t.Errorf("handlers: got %s, want %s", got, want)
			}
			if _, ok := o.RemoteOpt.Dialer.(*dialer); !ok {
				t.Errorf("dialer: got %T, want Kiteline's", o.RemoteOpt.Dialer)
			}
			var callers sync.WaitGroup
			for i := range 8 {
				callers.Go(func() {
					for n := range 20 {
						want := fmt.Sprintf("%d/%d", i, n)
						got, err := c.Repeat(context.Background(), want, 1, "")
						if err != nil || got != want {
							t.Errorf("got %q, %v, want %q", got, err, want)
							return
						}
					}
				})
			}
			callers.Wait()
		})
	}
}
