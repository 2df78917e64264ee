package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/transmeta"
	kitextransmeta "github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/transport/pool"
)

// rawClient makes calls of any method with any arguments over one pool.Mux.
type rawClient struct {
	genericclient.Client
	pool *pool.Mux
}

func newRawClient(t *testing.T, address string, cfg pool.MuxConfig, opts ...client.Option) rawClient {
	t.Helper()
	var seen clientOptions
	c, err := genericclient.NewClient("echo", generic.BinaryThriftGeneric(), append([]client.Option{
		client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)), WithMux(cfg))),
		client.WithHostPorts(address), client.WithConnectTimeout(patience), seen.option(),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	keep(t, c)
	conns := seen.o.RemoteOpt.ConnPool.(*pool.Mux)
	t.Cleanup(func() { conns.Close() })
	return rawClient{c, conns}
}

// call calls method with args, of which the last cut bytes are missing.
func (c rawClient) call(method string, args thrift.FastCodec, cut int) error {
	request, err := thrift.MarshalFastMsg(method, thrift.CALL, 1, args)
	if err != nil {
		return err
	}
	reply, err := c.GenericCall(context.Background(), method, request[:len(request)-cut])
	if err != nil {
		return err
	}
	var result echo.EchoServiceEchoPayloadResult
	_, _, err = thrift.UnmarshalFastMsg(reply.([]byte), &result)
	return err
}

// resetCounter counts the replies that ask the client to reset the connection.
type resetCounter struct {
	remote.MetaHandler
	count atomic.Int64
}

func (*resetCounter) WriteMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	return ctx, nil
}

func (c *resetCounter) ReadMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	if _, asked := msg.TransInfo().TransStrInfo()[transmeta.HeaderConnectionReadyToReset]; asked {
		c.count.Add(1)
	}
	return ctx, nil
}

// TestFailedCallsSpareTheirNeighbours: a server's reply to a request that it could not read may ask
// for the connection's reset, as Kitex's meta handler does. That affects none of the calls that
// share the connection.
func TestFailedCallsSpareTheirNeighbours(t *testing.T) {
	captureLogs(t)
	args := &echo.EchoServiceEchoPayloadArgs{Payload: &echo.Payload{Label: "neighbour", Data: make([]byte, 100)}}
	for _, tc := range []struct {
		name   string
		method string
		cut    int
	}{
		{"unknown method", "Nothing", 0},
		{"undecodable request", "EchoPayload", 50},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resets := &resetCounter{}
			svc := startService(t, newTestGroup(t), &serviceFuncs{}, server.WithMetaHandler(kitextransmeta.ServerTTHeaderHandler))
			c := newRawClient(t, svc.address, pool.MuxConfig{MaxConns: 1},
				client.WithMetaHandler(resets), client.WithMetaHandler(kitextransmeta.ClientTTHeaderHandler))
			if err := c.call("EchoPayload", args, 0); err != nil {
				t.Fatal(err)
			}
			const failing = 58
			done := make(chan struct{})
			var neighbours sync.WaitGroup
			for range 8 {
				neighbours.Go(func() {
					for called := false; ; called = true {
						select {
						case <-done:
							if called {
								return
							}
						default:
						}
						if err := c.call("EchoPayload", args, 0); err != nil {
							t.Errorf("neighbour: %v", err)
							return
						}
					}
				})
			}
			for i := range failing {
				if err := c.call(tc.method, args, tc.cut); err == nil {
					t.Errorf("call %d did not fail", i)
				}
			}
			close(done)
			neighbours.Wait()
			if got := resets.count.Load(); got != failing {
				t.Errorf("%d replies asked for a reset, want %d", got, failing)
			}
			st := onlyStats(t, c.pool)
			if st.Drains+st.PeerDrains+st.Deaths != 0 || st.Dials != 1 || st.Shared != 1 || st.InFlight != 0 {
				t.Errorf("got %+v, want the one connection as it was", st.Stats)
			}
		})
	}
}
