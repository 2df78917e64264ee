package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// rpcServer is a Kitex server at one address, in one life after another. The workers may close its
// connections.
type rpcServer struct {
	harness.Service
	w        *world
	address  string
	active   atomic.Int64
	inactive atomic.Int64
	open     registry[net.Conn]

	restarting sync.Mutex
	srv        server.Server // guarded by restarting
	served     chan error    // guarded by restarting
}

var _ remote.InboundHandler = (*rpcServer)(nil)

func (s *rpcServer) start() error {
	ln, err := relisten("tcp", s.address)
	if err != nil {
		return err
	}
	if s.address == "" {
		s.address = ln.Addr().String()
	}
	before := s.active.Load()
	s.srv = echoservice.NewServer(s,
		server.WithSuite(kiteline.NewServerSuite(kiteline.WithGroup(s.w.group))),
		server.WithBoundHandler(s),
		server.WithListener(ln),
		server.WithExitSignal(func() <-chan error { return nil }),
		server.WithExitWaitTime(time.Second),
		server.WithReadWriteTimeout(patience),
		server.WithMaxConnIdleTime(time.Second))
	s.served = make(chan error, 1)
	go func(srv server.Server, served chan<- error) { served <- srv.Run() }(s.srv, s.served)
	// Kitex's Stop misses a server that is about to run.
	for deadline := time.Now().Add(patience); s.active.Load() == before; pause(1) {
		if time.Now().After(deadline) {
			return errors.New("a server was started and does not serve")
		}
		if probe, err := net.Dial("tcp", s.address); err == nil {
			probe.Close()
		}
	}
	return nil
}

// stop ends the server. Kitex's error says that it took its exit wait time, which is no fault if
// clients never end.
func (s *rpcServer) stop() error {
	_ = s.srv.Stop()
	return <-s.served
}

func (s *rpcServer) restart() error {
	if !s.restarting.TryLock() {
		return nil
	}
	defer s.restarting.Unlock()
	s.w.tally.restarts.Add(1)
	if err := s.stop(); err != nil {
		return err
	}
	return s.start()
}

// OnActive implements remote.InboundHandler.
func (s *rpcServer) OnActive(ctx context.Context, nc net.Conn) (context.Context, error) {
	s.active.Add(1)
	s.open.add(nc)
	return ctx, nil
}

// OnInactive implements remote.InboundHandler.
func (s *rpcServer) OnInactive(ctx context.Context, nc net.Conn) context.Context {
	s.inactive.Add(1)
	if !s.open.remove(nc) {
		s.w.tally.fault(misordered, "OnInactive for a connection that is over or never was")
	}
	return ctx
}

// OnRead implements remote.InboundHandler.
func (s *rpcServer) OnRead(ctx context.Context, _ net.Conn) (context.Context, error) { return ctx, nil }

// OnMessage implements remote.InboundHandler.
func (s *rpcServer) OnMessage(ctx context.Context, _, _ remote.Message) (context.Context, error) {
	return ctx, nil
}

// EchoPayload answers with its argument, now or a little later.
func (s *rpcServer) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	if err := checkPayload(p); err != nil {
		s.w.tally.fault(misrouted, "a server got: %v", err)
	}
	if n := rand.IntN(64); n < 4 {
		pause(n)
		if err := checkPayload(p); err != nil {
			s.w.tally.fault(misrouted, "a request changed while it was handled: %v", err)
		}
	}
	return p, nil
}

func newPayload(identity uint64, number uint32, n int) *echo.Payload {
	return &echo.Payload{
		Data:  appendPattern(make([]byte, 0, n+8), identity, number, n),
		Label: fmt.Sprintf("%x/%x/%x", identity, number, n),
	}
}

// checkPayload returns an error unless p is what newPayload returned.
func checkPayload(p *echo.Payload) error {
	var identity uint64
	var number uint32
	var n int
	if _, err := fmt.Sscanf(p.Label, "%x/%x/%x", &identity, &number, &n); err != nil {
		return fmt.Errorf("label %q: %w", p.Label, err)
	}
	if len(p.Data) != n {
		return fmt.Errorf("payload %q: got %d bytes", p.Label, len(p.Data))
	}
	return checkPattern(p.Data, identity, number)
}

// rpcClient is a Kitex client for all servers.
type rpcClient struct {
	w     *world
	stub  echoservice.Client
	clean func(network, address string) // of its pool
	close func()
}

// newPooledClient makes a client whose calls each have a connection.
func (w *world) newPooledClient() (*rpcClient, error) {
	conns := pool.New("echo", pool.Config{MaxIdleTimeout: 500 * time.Millisecond, MaxAge: 5 * time.Second})
	return w.newClient(conns.Clean,
		client.WithSuite(kiteline.NewClientSuite(kiteline.WithGroup(w.group))), client.WithConnPool(conns))
}

// newMuxClient makes a client whose calls share connections.
func (w *world) newMuxClient() (*rpcClient, error) {
	conns := pool.NewMux("echo", pool.MuxConfig{
		Heartbeat: time.Second, IdleTimeout: 700 * time.Millisecond, MaxAge: 5 * time.Second, MaxInFlight: 64,
	})
	return w.newClient(conns.Clean,
		client.WithSuite(kiteline.NewMuxClientSuite(kiteline.WithGroup(w.group))), client.WithConnPool(conns),
		client.WithTransportProtocol(transport.TTHeader))
}

func (w *world) newClient(clean func(network, address string), opts ...client.Option) (*rpcClient, error) {
	var options *client.Options
	var addresses []string
	for _, s := range w.rpc {
		addresses = append(addresses, s.address)
	}
	opts = append(opts, client.WithHostPorts(addresses...), client.WithConnectTimeout(patience), client.WithRPCTimeout(patience),
		client.Option{F: func(o *client.Options, _ *utils.Slice) { options = o }})
	stub, err := echoservice.NewClient("echo", opts...)
	if err != nil {
		return nil, err
	}
	return &rpcClient{w: w, stub: stub, clean: clean, close: func() {
		callbacks := options.CloseCallbacks
		options.CloseCallbacks = nil
		for _, f := range callbacks {
			_ = f() // the pools' never fail
		}
	}}, nil
}

// call makes a call that may be cancelled or run out of time, and returns its answer, if any.
func (c *rpcClient) call(r *rand.Rand) *echo.Payload {
	ctx, hasty := context.Background(), false
	var opts []callopt.Option
	switch r.IntN(8) {
	case 0:
		hasty = true
		opts = append(opts, callopt.WithRPCTimeout(time.Duration(1+r.IntN(5000))*time.Microsecond))
	case 1:
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		timer := time.AfterFunc(time.Duration(r.IntN(3000))*time.Microsecond, cancel)
		defer timer.Stop()
		defer cancel()
	case 2:
		hasty = true
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(5000))*time.Microsecond)
		defer cancel()
	}
	c.w.tally.calls.Add(1)
	sent := newPayload(c.w.identities.Add(1)<<16, 0, frameLength(r))
	got, err := c.stub.EchoPayload(ctx, sent, opts...)
	if err != nil {
		c.w.tally.failedCalls.Add(1)
		c.judge(err, hasty)
		return nil
	}
	if got.Label != sent.Label {
		c.w.tally.fault(misrouted, "got the answer to %q, want that to %q", got.Label, sent.Label)
	} else if err := checkPayload(got); err != nil {
		c.w.tally.fault(misrouted, "an answer: %v", err)
	}
	return got
}

// judge counts an unexpected error of a call.
func (c *rpcClient) judge(err error, hasty bool) {
	switch {
	case errors.Is(err, kerrors.ErrRPCTimeout):
		if !hasty && !errors.Is(err, context.Canceled) {
			c.w.tally.fault(stuck, "a call: %v", err)
		}
	case harness.IsTypedCall(err):
	default:
		c.w.tally.fault(untyped, "a call: %T %v", errors.Unwrap(err), err)
	}
}
