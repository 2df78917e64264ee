package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	pbservice "github.com/kiteline/kiteline/idl/kitex_gen/echopb/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// TestStopSideBySide stops a server with a slow call on a shared connection, a slow one on a pooled
// connection and quick ones on both. Connections of either kind end as if the other kind were not
// there: none waits for another's calls, and no call is lost.
func TestStopSideBySide(t *testing.T) {
	captureLogs(t)
	slow := map[string]*heldService{"shared": newHeldService(), "pooled": newHeldService()}
	service := &serviceFuncs{find: func(ctx context.Context, key string) (*echo.Message, error) {
		if held := slow[key]; held != nil {
			return held.find(ctx, key)
		}
		return &echo.Message{Text: key}, nil
	}}
	for _, held := range slow {
		defer held.letGo()
	}
	svc := startService(t, newTestGroup(t), service, server.WithExitWaitTime(2*patience), server.WithMetaHandler(transmeta.ServerTTHeaderHandler))
	shared, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, shared, conns)
	pooled := newPooledClient(t, svc.address,
		client.WithTransportProtocol(kitextransport.TTHeader), client.WithMetaHandler(transmeta.ClientTTHeaderHandler))
	idleGroup := newTestGroup(t)
	idle, o := newEcho(t, svc.address, client.WithSuite(NewClientSuite(WithGroup(idleGroup))))
	keep(t, idle)
	if _, err := idle.Find(context.Background(), "x"); err != nil {
		t.Fatal(err)
	}
	idlePool := o.RemoteOpt.ConnPool.(*pool.Pool)
	if st := idlePool.Stats(); st.Idle != 1 {
		t.Fatalf("got %+v, want an idle connection", st.Counts)
	}

	done := make(map[string]chan error)
	for kind, c := range map[string]echoservice.Client{"shared": shared, "pooled": pooled} {
		answered := make(chan error, 1)
		done[kind] = answered
		go func() {
			_, err := c.Find(context.Background(), kind)
			answered <- err
		}()
		receive(t, "slow call", slow[kind].began)
	}
	var quick, connected sync.WaitGroup
	for _, c := range []echoservice.Client{shared, pooled} {
		for range 5 {
			connected.Add(1)
			quick.Go(func() { callUntilRefused(t, c, connected.Done) })
		}
	}
	connected.Wait() // a kernel resets connections that come while the listener closes
	stopped := make(chan error, 1)
	go func() { stopped <- svc.stop() }()

	// Without a poller a pool sees that only at the next use.
	if !errors.Is(idleGroup.Resize(1), errors.ErrUnsupported) {
		eventually(t, "the idle pooled connection is closed while a shared one has a call", func() bool { return idlePool.Stats().Idle == 0 })
	}
	quick.Wait()
	for _, kind := range []string{"pooled", "shared"} { // one after the other
		select {
		case err := <-stopped:
			t.Errorf("stopped with a %s call in flight: %v", kind, err)
		default:
		}
		slow[kind].letGo()
		if err := receive(t, kind, done[kind]); err != nil {
			t.Errorf("slow %s call: %v", kind, err)
		}
	}
	if err := receive(t, "Stop", stopped); err != nil {
		t.Error(err)
	}
}

// callUntilRefused makes calls until the server accepts no more connections. No call may fail in
// another way. It calls connected after the first call, or when it returns.
func callUntilRefused(t *testing.T, c echoservice.Client, connected func()) {
	once := sync.OnceFunc(connected)
	defer once()
	for i := 0; ; i++ {
		want := fmt.Sprint(i)
		m, err := c.Find(context.Background(), want)
		switch {
		case err != nil && isRefused(err):
			return
		case err != nil || m.Text != want:
			t.Errorf("quick call: got %v, %v", messageText(m), err)
			return
		}
		once()
	}
}

// heldEcho makes calls with the text "held" wait.
type heldEcho struct{ *heldService }

// Echo implements echopb.EchoService.
func (s *heldEcho) Echo(_ context.Context, r *echopb.Request) (*echopb.Response, error) {
	if r.Text == "held" {
		s.began <- struct{}{}
		<-s.release
	}
	return &echopb.Response{Text: r.Text}, nil
}

// TestStopTellsClientsBesideStreams: a slow gRPC call does not keep clients of shared connections
// from being told that the server stops.
func TestStopTellsClientsBesideStreams(t *testing.T) {
	captureLogs(t)
	service := &heldEcho{newHeldService()}
	defer service.letGo()
	svc := startServer(t, newTestGroup(t), func(opts ...server.Option) server.Server {
		return pbservice.NewServer(service, opts...)
	}, server.WithExitWaitTime(2*patience))
	newClient := func(opts ...client.Option) (pbservice.Client, *client.Options) {
		var seen clientOptions
		opts = append(opts, client.WithHostPorts(svc.address), client.WithConnectTimeout(patience), seen.option())
		c, err := pbservice.NewClient("echopb", opts...)
		if err != nil {
			t.Fatal(err)
		}
		keep(t, c)
		t.Cleanup(func() { seen.o.RemoteOpt.ConnPool.Close() })
		return c, seen.o
	}
	shared, o := newClient(client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)))))
	if _, err := shared.Echo(context.Background(), &echopb.Request{Text: "x"}); err != nil {
		t.Fatal(err)
	}
	grpc, _ := newClient(client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t)))), client.WithTransportProtocol(kitextransport.GRPC))
	answered := make(chan error, 1)
	go func() {
		_, err := grpc.Echo(context.Background(), &echopb.Request{Text: "held"})
		answered <- err
	}()
	receive(t, "gRPC call", service.began)
	stopped := make(chan error, 1)
	go func() { stopped <- svc.stop() }()
	conns := o.RemoteOpt.ConnPool.(*pool.Mux)
	eventually(t, "the shared connection ends", func() bool {
		st := onlyStats(t, conns)
		return st.PeerDrains == 1 && st.Connections == 0
	})
	service.letGo()
	if err := receive(t, "gRPC call", answered); err != nil {
		t.Error(err)
	}
	if err := receive(t, "Stop", stopped); err != nil {
		t.Error(err)
	}
}
