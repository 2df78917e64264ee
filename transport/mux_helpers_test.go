package transport

import (
	"context"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/pool"
)

// serviceFuncs is an echo service made of functions. A nil function echoes.
type serviceFuncs struct {
	echoHandler
	find    func(ctx context.Context, key string) (*echo.Message, error)
	payload func(ctx context.Context, p *echo.Payload) (*echo.Payload, error)
	notify  func(ctx context.Context, m *echo.Message) error
}

func (s *serviceFuncs) Find(ctx context.Context, key string) (*echo.Message, error) {
	if s.find == nil {
		return &echo.Message{Text: key}, nil
	}
	return s.find(ctx, key)
}

func (s *serviceFuncs) EchoPayload(ctx context.Context, p *echo.Payload) (*echo.Payload, error) {
	if s.payload == nil {
		return p, nil
	}
	return s.payload(ctx, p)
}

func (s *serviceFuncs) Notify(ctx context.Context, m *echo.Message) error {
	if s.notify == nil {
		return nil
	}
	return s.notify(ctx, m)
}

// runningService is a server that runs until the test ends or calls stop.
type runningService struct {
	address string
	stop    func() error
}

// startService serves handler in g. opts win over the suite.
func startService(t testing.TB, g *conn.Group, handler echo.EchoService, opts ...server.Option) runningService {
	t.Helper()
	return startServer(t, g, func(opts ...server.Option) server.Server { return echoservice.NewServer(handler, opts...) }, opts...)
}

// startServer is startService for any service.
func startServer(t testing.TB, g *conn.Group, newServer func(...server.Option) server.Server, opts ...server.Option) runningService {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	signal, running := whenRunning()
	srv := newServer(append([]server.Option{
		server.WithSuite(NewServerSuite(WithGroup(g))),
		server.WithListener(ln),
		signal,
	}, opts...)...)
	served := make(chan error, 1)
	go func() { served <- srv.Run() }()
	receive(t, "running server", running)
	stop := sync.OnceValue(func() error {
		err := srv.Stop()
		if runErr := receive(t, "Run", served); runErr != nil {
			t.Error(runErr)
		}
		return err
	})
	t.Cleanup(func() { _ = stop() })
	return runningService{address: ln.Addr().String(), stop: stop}
}

// newPooledClient makes a client with NewClientSuite, and so with pooled connections.
func newPooledClient(t testing.TB, address string, opts ...client.Option) echoservice.Client {
	t.Helper()
	c, _ := newEcho(t, address, append([]client.Option{client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t))))}, opts...)...)
	return c
}

// newSharedClient makes a client with NewMuxClientSuite alone, and returns it with its pool.
func newSharedClient(t testing.TB, address string, cfg pool.MuxConfig, opts ...client.Option) (echoservice.Client, *pool.Mux) {
	t.Helper()
	c, o := newEcho(t, address, append([]client.Option{
		client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)), WithMux(cfg))),
	}, opts...)...)
	conns, ok := o.RemoteOpt.ConnPool.(*pool.Mux)
	if !ok {
		t.Fatalf("pool: got %T, want a pool.Mux", o.RemoteOpt.ConnPool)
	}
	keep(t, c)
	return c, conns
}

// newBalancedClient is newSharedClient for several addresses.
func newBalancedClient(t testing.TB, addresses ...string) (echoservice.Client, *pool.Mux) {
	t.Helper()
	var seen clientOptions
	c, err := echoservice.NewClient("echo", client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)))),
		client.WithHostPorts(addresses...), client.WithConnectTimeout(patience), seen.option())
	if err != nil {
		t.Fatal(err)
	}
	conns := seen.o.RemoteOpt.ConnPool.(*pool.Mux)
	t.Cleanup(func() { conns.Close() })
	keep(t, c)
	return c, conns
}

// keep keeps c alive until the test's end: a client's finalizer closes its pool.
func keep(t testing.TB, c any) {
	t.Cleanup(func() { runtime.KeepAlive(c) })
}

// onlyStats returns the figures of the one address that pool knows.
func onlyStats(t testing.TB, conns *pool.Mux) pool.MuxAddressStats {
	t.Helper()
	list := conns.Stats().Addresses
	if len(list) != 1 {
		t.Fatalf("got %d addresses, want 1: %+v", len(list), list)
	}
	return list[0]
}

// share makes calls until a connection of pool is shared.
func share(t testing.TB, c echoservice.Client, conns *pool.Mux) {
	t.Helper()
	if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
		t.Fatal(err)
	}
	if st := onlyStats(t, conns); st.Shared == 0 {
		t.Fatalf("no shared connection: %+v", st)
	}
}

// labelOf returns the label of a reply, which may be nil.
func labelOf(p *echo.Payload) string {
	if p == nil {
		return "(no reply)"
	}
	return p.Label
}

// messageText is labelOf for a message.
func messageText(m *echo.Message) string {
	if m == nil {
		return "(no reply)"
	}
	return m.Text
}
