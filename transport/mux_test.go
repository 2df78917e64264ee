package transport

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// newMuxClient makes a client whose calls to address share connections.
func newMuxClient(t testing.TB, address string, opts ...client.Option) (echoservice.Client, *pool.Mux) {
	t.Helper()
	conns := pool.NewMux("echo", pool.MuxConfig{})
	all := append([]client.Option{
		client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)))),
		client.WithHostPorts(address),
		client.WithConnectTimeout(patience),
		client.WithTransportProtocol(kitextransport.TTHeader),
		client.WithConnPool(conns),
	}, opts...)
	c, err := echoservice.NewClient("echo", all...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conns.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, conns
}

// TestMuxEcho makes concurrent calls of many sizes. Each gets its own reply, over no more
// connections than calls may share.
func TestMuxEcho(t *testing.T) {
	t.Parallel()
	address := startEcho(t, newTestGroup(t))
	c, conns := newMuxClient(t, address)
	share(t, c, conns) // a first burst may open more than are kept
	var group sync.WaitGroup
	for caller := range 100 {
		group.Go(func() {
			for i := range 100 {
				data := bytes.Repeat([]byte{byte(caller), byte(i)}, 1<<(i%14))
				label := fmt.Sprint(caller, "-", i)
				reply, err := c.EchoPayload(context.Background(), &echo.Payload{Data: data, Label: label})
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(reply.Data, data) || reply.Label != label {
					t.Errorf("caller %d, call %d: another reply: %q", caller, i, reply.Label)
					return
				}
			}
		})
	}
	group.Wait()
	if st := onlyStats(t, conns); st.Shared == 0 || st.Connections > conns.Config().MaxConns || st.InFlight != 0 {
		t.Errorf("got %+v", st)
	}
}
