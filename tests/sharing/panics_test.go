package sharing

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// place is where a client's own code runs in a call.
type place string

// places are all such places.
func places() []place {
	return []place{"middleware", "instance middleware", "outbound", "inbound", "WriteMeta", "ReadMeta"}
}

// unruly is a client's own code that fails at one place while it is armed.
type unruly struct {
	fail  func()
	at    place
	armed atomic.Bool
	met   atomic.Int64
}

func (u *unruly) visit(here place) {
	if u.armed.Load() && u.at == here {
		u.met.Add(1)
		u.fail()
	}
}

func (u *unruly) options() []client.Option {
	middleware := func(here place) endpoint.Middleware {
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req, resp any) error {
				u.visit(here)
				return next(ctx, req, resp)
			}
		}
	}
	return []client.Option{
		client.WithMiddleware(middleware("middleware")), client.WithInstanceMW(middleware("instance middleware")),
		client.WithBoundHandler(u), client.WithMetaHandler(u),
	}
}

// Write implements remote.OutboundHandler.
func (u *unruly) Write(ctx context.Context, _ net.Conn, _ remote.Message) (context.Context, error) {
	u.visit("outbound")
	return ctx, nil
}

// OnActive implements remote.InboundHandler.
func (u *unruly) OnActive(ctx context.Context, _ net.Conn) (context.Context, error) { return ctx, nil }

// OnInactive implements remote.InboundHandler.
func (u *unruly) OnInactive(ctx context.Context, _ net.Conn) context.Context { return ctx }

// OnRead implements remote.InboundHandler.
func (u *unruly) OnRead(ctx context.Context, _ net.Conn) (context.Context, error) { return ctx, nil }

// OnMessage implements remote.InboundHandler.
func (u *unruly) OnMessage(ctx context.Context, _, _ remote.Message) (context.Context, error) {
	u.visit("inbound")
	return ctx, nil
}

// WriteMeta implements remote.MetaHandler.
func (u *unruly) WriteMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	u.visit("WriteMeta")
	return ctx, nil
}

// ReadMeta implements remote.MetaHandler.
func (u *unruly) ReadMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	u.visit("ReadMeta")
	return ctx, nil
}

// A client's own code that panics, or ends its goroutine, keeps no place on the connection, and
// fails only its own call.
func TestUnrulyClients(t *testing.T) {
	const failing, inFlight = 100, 8
	for name, fail := range map[string]func(){"panic": func() { panic("in a test") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			s := startAt(t, g, nil)
			for _, at := range places() {
				t.Run(string(at), func(t *testing.T) { failAt(t, &unruly{fail: fail, at: at}, s, failing, inFlight) })
			}
		})
	}
}

func failAt(t *testing.T, u *unruly, s *harness.Server, failing, inFlight int) {
	t.Helper()
	c := newCaller(t, shared, s.Addr, pool.MuxConfig{MaxConns: 1, MaxInFlight: inFlight}, u.options()...)
	if err := c.call(); err != nil {
		t.Fatal(err)
	}
	before := c.stats(t).Dials
	u.armed.Store(true)
	for range failing {
		over := make(chan struct{})
		go func() {
			defer close(over)
			defer func() { _ = recover() }()
			_ = c.call() // its error does not matter here
		}()
		testkit.Receive(t, "the end of a call", over)
	}
	u.armed.Store(false)
	if n := u.met.Load(); n < int64(failing) {
		t.Errorf("failed %d times, want %d", n, failing)
	}
	testkit.Settles(t, "calls in flight", func() int { return c.stats(t).InFlight }, 0)
	start(2*inFlight, func(int) error { return c.call() }).end(t, "calls after those")
	if after := c.stats(t); after.Dials != before || after.Deaths > 0 {
		t.Errorf("got %+v, want the one connection", after)
	}
}
