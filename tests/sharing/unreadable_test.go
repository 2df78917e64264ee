package sharing

import (
	"context"
	"maps"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

const (
	unreadableCalls = 58
	serverFrame     = 256 << 10 // the longest frame that the server takes
)

// otherService is the echo service with another version of its IDL: one method more, and another
// type for the argument of Echo.
func otherService() *serviceinfo.ServiceInfo {
	info := *echoservice.NewServiceInfo()
	info.Methods = maps.Clone(info.Methods)
	info.Methods["Nothing"] = info.Methods["EchoPayload"]
	info.Methods["Echo"] = info.Methods["EchoPayload"]
	return &info
}

// Requests that the server cannot read fail alone. With each of them it asks for a reset of the
// connection (Kitex's meta handler for TTHeader does that), and the connection goes on
// nevertheless.
func TestUnreadableRequests(t *testing.T) {
	for _, tc := range []struct {
		name, method string
		bytes        int
	}{
		{"unknown method", "Nothing", 1},
		{"undecodable", "Echo", 1},
		{"oversized", "EchoPayload", 2 * serverFrame},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := newGate()
			s := startAt(t, g, nil, server.WithMetaHandler(transmeta.ServerTTHeaderHandler),
				server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{MaxFrameBytes: serverFrame}))))
			opts := []client.Option{client.WithMetaHandler(transmeta.ClientTTHeaderHandler), client.WithRPCTimeout(patience)}
			c := newCaller(t, shared, s.Addr, pool.MuxConfig{MaxConns: 1}, opts...)
			if err := c.call(); err != nil { // so that there is one connection
				t.Fatal(err)
			}
			held := start(10, func(int) error { return c.echo(context.Background(), "held", nil) })
			g.awaits(t, 10)
			opts = append(opts, client.WithSuite(kiteline.NewMuxClientSuite()), client.WithHostPorts(s.Addr.String()),
				client.WithDestService("echo"), client.WithConnPool(c.pool))
			other, err := client.NewClient(otherService(), opts...)
			if err != nil {
				t.Fatal(err)
			}
			before, accepted := c.stats(t), s.Connections.Accepted()
			for range unreadableCalls {
				args := &echo.EchoServiceEchoPayloadArgs{Payload: &echo.Payload{Data: make([]byte, tc.bytes)}}
				if err := other.Call(context.Background(), tc.method, args, new(echo.EchoServiceEchoPayloadResult)); err == nil {
					t.Fatal("got an answer, want an error")
				}
				if err := c.call(); err != nil {
					t.Fatalf("a neighbour's call: %v", err)
				}
			}
			g.open()
			held.end(t, "calls in flight meanwhile")
			after := c.stats(t)
			if drains := after.Drains - before.Drains; drains > 0 {
				t.Errorf("got %d drains, want none", drains)
			}
			if dials := s.Connections.Accepted() - accepted; dials > 0 || after.Dials != before.Dials {
				t.Errorf("got %d dials, of which the server saw %d, want none", after.Dials-before.Dials, dials)
			}
			testkit.Settles(t, "calls in flight", func() int { return c.stats(t).InFlight }, 0)
		})
	}
}
