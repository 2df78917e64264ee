package transport

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// TestApartUpgrade has servers that share connections, and servers that do not, take turns at an
// address. Calls soon share connections again, or have their own, and no connection of the other
// kind is left.
func TestApartUpgrade(t *testing.T) {
	captureLogs(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	c, conns := newSharedClient(t, address, pool.MuxConfig{}, client.WithRPCTimeout(patience))
	for round, shares := range []bool{false, true, false, true} {
		if ln == nil {
			eventually(t, "the port", func() bool {
				ln, err = net.Listen("tcp", address)
				return err == nil
			})
		}
		var opts []server.Option
		if !shares {
			opts = gonetOptions()
		}
		svc := startService(t, newTestGroup(t), &serviceFuncs{}, append(opts, server.WithListener(ln))...)
		ln = nil
		eventually(t, "a call", func() bool { // the first may meet the last server's connections
			_, err := c.Find(t.Context(), "x")
			return err == nil
		})
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 20 {
					if _, err := c.Find(context.Background(), "x"); err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				}
			})
		}
		callers.Wait()
		eventually(t, "the connections of this server alone", func() bool {
			st := onlyStats(t, conns)
			return (st.Shared > 0) == shares && (st.Pooled > 0) != shares
		})
		if !shares { // gonet waits for idle connections
			conns.Clean("tcp", address)
		}
		// gonet polls for the end of its connections, and its time may be over before it looks
		// again.
		if err := svc.stop(); err != nil && (shares || !errors.Is(err, context.DeadlineExceeded)) {
			t.Error(err)
		}
	}
}

// TestApartOneways makes oneway calls among others to a server that does not share connections.
// They need few connections.
func TestApartOneways(t *testing.T) {
	captureLogs(t)
	var got atomic.Int64
	svc := startService(t, newTestGroup(t), &serviceFuncs{notify: func(context.Context, *echo.Message) error {
		got.Add(1)
		return nil
	}}, gonetOptions()...)
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{}, client.WithRPCTimeout(patience))
	const calls = 30
	for range calls {
		if _, err := c.Find(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		if err := c.Notify(t.Context(), &echo.Message{Text: "oneway"}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the oneways", func() bool { return got.Load() == calls })
	if st := onlyStats(t, conns); st.Dials > 4 || st.Shared != 0 || st.InFlight != 0 {
		t.Errorf("got %+v", st)
	}
	if err := conns.Close(); err != nil { // or gonet would wait
		t.Error(err)
	}
}

// TestApartPanics: a call whose codec panics leaves no unshared connection in use.
func TestApartPanics(t *testing.T) {
	captureLogs(t)
	svc := startService(t, newTestGroup(t), &serviceFuncs{}, gonetOptions()...)
	payload := &wildPayload{PayloadCodec: thrift.NewThriftCodec()}
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{}, client.WithRPCTimeout(patience), client.WithPayloadCodec(payload))
	for _, panics := range []bool{false, true, false, true, false} {
		payload.panics.Store(panics)
		if _, err := c.Find(t.Context(), "x"); (err != nil) != panics {
			t.Errorf("panics %v: got %v", panics, err)
		}
		eventually(t, "no call in flight", func() bool { return onlyStats(t, conns).InFlight == 0 })
	}
	if err := conns.Close(); err != nil { // or gonet would wait
		t.Error(err)
	}
}

// TestApartLimits: the limits of a client's configuration also hold on connections that are not
// shared.
func TestApartLimits(t *testing.T) {
	captureLogs(t)
	svc := startService(t, newTestGroup(t), &serviceFuncs{}, gonetOptions()...)
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxFrameBytes: 10 << 10, WriteTimeout: time.Hour}, client.WithRPCTimeout(patience))
	big := func() error {
		_, err := c.EchoPayload(t.Context(), &echo.Payload{Data: make([]byte, 5<<10), Label: strings.Repeat("x", 4<<10)})
		return err
	}
	tooBig := func(c echoservice.Client) error {
		_, err := c.Repeat(t.Context(), "x", 20<<10, "")
		return err
	}
	for range 2 { // the first learns what the server is
		if err := big(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tooBig(c); !errors.Is(err, ErrMessageTooLarge) {
		t.Errorf("got %v, want ErrMessageTooLarge", err)
	}
	if err := big(); err != nil {
		t.Error(err)
	}
	if err := conns.Close(); err != nil { // or gonet would wait
		t.Error(err)
	}
}
