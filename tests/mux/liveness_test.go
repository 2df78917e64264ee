package mux

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// checkLost fails the test unless Kitex takes err for a lost connection, and neither for a timeout
// nor for a call to make again by itself. err must contain why.
func checkLost(t *testing.T, err, why error) {
	t.Helper()
	if !isLostConnection(err) {
		t.Errorf("got %v, want a lost connection", err)
	}
	if !errors.Is(err, why) {
		t.Errorf("got %v, want %v in it", err, why)
	}
	if kerrors.IsTimeoutError(err) {
		t.Errorf("got %v, which Kitex takes for a timeout", err)
	}
}

// A server that has gone away silently fails the calls that wait for it within two heartbeats, as a
// lost connection.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	const heartbeat = 300 * time.Millisecond * testkit.Slowdown
	g := &gate{opened: make(chan struct{})}
	s := harness.Echo(t, harness.Kiteline, &harness.Service{OnEcho: g.echo})
	t.Cleanup(func() { close(g.opened) })
	proxy := harness.NewProxy(t, s.Addr)
	cli, conns := newClient(t, proxy.Addr, pool.MuxConfig{MaxConns: 1, Heartbeat: heartbeat})
	if err := callText(cli, "first"); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { failed <- callText(cli, "held") }()
	testkit.Settles(t, "calls in handlers", g.entered.Load, 2)
	watch := harness.StartStopwatch()
	proxy.StallRequests()
	proxy.StallReplies()
	select {
	case err := <-failed:
		checkLost(t, err, mux.ErrSilent)
	case <-time.After(2*heartbeat + testkit.Patience):
		t.Fatal("a call waits for a server that has gone")
	}
	if took := watch.Elapsed(); took > 2*heartbeat+inTime {
		t.Errorf("the call failed after %v, want two intervals of %v at most", took, heartbeat)
	}
	testkit.Settles(t, "dead connections", func() uint64 { return conns.Stats().Deaths }, 1)
}

// A server that takes no more of a request fails the call at the write timeout, as a lost
// connection, whether the client sets the timeout for all connections or for shared ones.
func TestServerTakesNoMore(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	for name, suite := range map[string]client.Suite{
		"WithWriteTimeout": kiteline.NewMuxClientSuite(kiteline.WithWriteTimeout(limit)),
		"WithMux":          kiteline.NewMuxClientSuite(kiteline.WithMux(pool.MuxConfig{WriteTimeout: limit})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Echo(t, harness.Kiteline, new(harness.Service))
			proxy := harness.NewProxy(t, s.Addr)
			cli := harness.CustomClient(t, echoservice.NewClient, client.WithSuite(suite), client.WithHostPorts(proxy.Addr.String()),
				client.WithConnectTimeout(testkit.Patience))
			if err := callText(cli, "first"); err != nil {
				t.Fatal(err)
			}
			proxy.StallRequests()
			failed := make(chan error, 1)
			go func() {
				_, err := cli.EchoPayload(context.Background(), &echo.Payload{Data: make([]byte, 15<<20)})
				failed <- err
			}()
			select {
			case err := <-failed:
				if !isLostConnection(err) || kerrors.IsTimeoutError(err) {
					t.Errorf("got %v, want a lost connection", err)
				}
			case <-time.After(8 * time.Second): // the default would end it after ten
				t.Fatal("the request waits for a server that takes no more")
			}
			proxy.Resume()
			if err := callText(cli, "next"); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

// A client that has gone away silently, with a call in a handler and nothing to be written to it,
// is found within two of the server's heartbeats: its connection is closed, and the handler is told
// if it asked for that. A client that is still there is left alone for the same time.
func TestSilentClient(t *testing.T) {
	t.Parallel()
	const heartbeat = 300 * time.Millisecond * testkit.Slowdown
	over := make(chan struct{}, 10)
	held, release := make(chan struct{}, 10), make(chan struct{})
	service := &harness.Service{OnEcho: func(ctx context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
		if r.Message.Text == "held" {
			held <- struct{}{}
			select {
			case <-ctx.Done():
				over <- struct{}{}
			case <-release:
			}
		}
		return &echo.EchoResponse{Message: r.Message}, nil
	}}
	s := harness.Start(t, harness.ServerConfig{New: harness.NewEcho(service), Options: []server.Option{
		server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{Heartbeat: heartbeat, CancelHandlers: true}))),
	}})
	proxy := harness.NewProxy(t, s.Addr)
	newHeld := func(addr net.Addr) (failed chan error) {
		cli, _ := newClient(t, addr, pool.MuxConfig{MaxConns: 1, Heartbeat: -1})
		if err := callText(cli, "first"); err != nil {
			t.Fatal(err)
		}
		failed = make(chan error, 1)
		go func() { failed <- callText(cli, "held") }()
		<-held
		return failed
	}
	there := newHeld(s.Addr)
	newHeld(proxy.Addr)
	proxy.StallRequests()
	proxy.StallReplies()
	watch := harness.StartStopwatch()
	select {
	case <-over:
		if took := watch.Elapsed(); took > 2*heartbeat+inTime {
			t.Errorf("the handler was told after %v, want two intervals of %v at most", took, heartbeat)
		}
	case <-time.After(2*heartbeat + testkit.Patience):
		t.Fatal("a handler works for a client that has gone")
	}
	// Start made one.
	testkit.Settles(t, "connections that have ended", func() int64 { return int64(s.Connections.Ended()) }, 2)
	timer := time.NewTimer(3 * heartbeat)
	defer timer.Stop()
	select {
	case <-over:
		t.Error("a handler was told that its client has gone, which is there")
	case err := <-there:
		t.Errorf("the other call ended: %v", err)
	case <-timer.C:
	}
	close(release)
	if err := <-there; err != nil {
		t.Error(err)
	}
}
