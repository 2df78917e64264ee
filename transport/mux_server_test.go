package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/limiter"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/bound"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/transport/pool"
)

// TestMuxServerRPCInfo has 100 callers on one connection. Each handler finds the rpcinfo of its own
// call, and keeps it while others come and go.
func TestMuxServerRPCInfo(t *testing.T) {
	t.Parallel()
	check := func(ctx context.Context, label, method string) error {
		info := rpcinfo.GetRPCInfo(ctx)
		tag, _ := info.To().Tag("label")
		value, _ := metainfo.GetValue(ctx, "LABEL")
		if got := info.To().Method(); got != method || info.Invocation().MethodName() != method {
			return fmt.Errorf("method: got %s, want %s", got, method)
		}
		if tag != label || value != label {
			return fmt.Errorf("tag %q, metainfo %q, want %q", tag, value, label)
		}
		if from, _ := metainfo.GetValue(ctx, "FROM"); from != "" && info.From().Address().String() != from {
			return fmt.Errorf("from %v, want %s", info.From().Address(), from)
		}
		return nil
	}
	tagging := func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, request, response any) error {
			label, _ := metainfo.GetValue(ctx, "LABEL")
			// The handler checks it.
			_ = rpcinfo.AsMutableEndpointInfo(rpcinfo.GetRPCInfo(ctx).To()).SetTag("label", label)
			return next(ctx, request, response)
		}
	}
	var held atomic.Int64
	release := make(chan struct{})
	svc := startService(t, newTestGroup(t), &serviceFuncs{
		find: func(ctx context.Context, key string) (*echo.Message, error) {
			if strings.HasSuffix(key, "-held") {
				held.Add(1)
				<-release
			}
			return &echo.Message{Text: key}, check(ctx, key, "Find")
		},
		payload: func(ctx context.Context, p *echo.Payload) (*echo.Payload, error) {
			return p, check(ctx, p.Label, "EchoPayload")
		},
	}, server.WithMiddleware(tagging))
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	var callers sync.WaitGroup
	for caller := range 100 {
		callers.Go(func() {
			for i := range 20 {
				label := fmt.Sprintf("%d-%d", caller, i)
				if i == 10 && caller%10 == 0 {
					label += "-held"
					if held.Load() == 9 {
						close(release) // the last of them does not wait
					}
				}
				ctx := metainfo.WithValue(context.Background(), "LABEL", label)
				var err error
				if i%2 == 0 {
					_, err = c.Find(ctx, label)
				} else {
					_, err = c.EchoPayload(ctx, &echo.Payload{Label: label})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	eventually(t, "ten handlers hold their calls, or were let go", func() bool {
		select {
		case <-release:
			return true
		default:
			return held.Load() == 10
		}
	})
	select {
	case <-release:
	default:
		close(release)
	}
	callers.Wait()
	if st := onlyStats(t, conns); st.Dials != 1 {
		t.Errorf("%d connections, want 1", st.Dials)
	}
}

// TestMuxHandlersApart has a slow and a panicking handler. They hold up no other call.
func TestMuxHandlersApart(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	began, release := make(chan struct{}), make(chan struct{})
	svc := startService(t, newTestGroup(t), &serviceFuncs{find: func(_ context.Context, key string) (*echo.Message, error) {
		switch key {
		case "slow":
			close(began)
			<-release
		case "panic":
			panic("as asked")
		}
		return &echo.Message{Text: key}, nil
	}})
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	slow := make(chan error, 1)
	go func() {
		_, err := c.Find(context.Background(), "slow")
		slow <- err
	}()
	receive(t, "slow handler", began)
	for i := range 20 {
		if _, err := c.Find(context.Background(), "panic"); err == nil || !strings.Contains(err.Error(), "as asked") {
			t.Errorf("got %v, want the panic", err)
		}
		key := fmt.Sprint(i)
		if m, err := c.Find(context.Background(), key); err != nil || m.Text != key {
			t.Errorf("got %v, %v", m, err)
		}
	}
	close(release)
	if err := receive(t, "slow call", slow); err != nil {
		t.Error(err)
	}
	if st := onlyStats(t, conns); st.Dials != 1 {
		t.Errorf("%d connections, want 1", st.Dials)
	}
}

// everyOther is a limiter that refuses every other call.
type everyOther struct{ calls atomic.Int64 }

func (l *everyOther) Acquire(context.Context) bool                                 { return l.calls.Add(1)%2 != 0 }
func (*everyOther) Status(context.Context) (maximum, current int, _ time.Duration) { return 2, 1, 0 }

// inbound is a bound handler that sees each request before it is decoded.
type inbound struct {
	remote.InboundHandler // Kitex's limiter, for the other methods
	onRead                func(ctx context.Context)
}

func (h *inbound) OnRead(ctx context.Context, _ net.Conn) (context.Context, error) {
	h.onRead(ctx)
	return ctx, nil
}

// noLimits is a limiter that refuses nothing.
func noLimits() remote.InboundHandler {
	return bound.NewServerLimiterHandler(&limiter.DummyConcurrencyLimiter{}, &limiter.DummyRateLimiter{}, nil, false)
}

// TestMuxQPSLimit refuses calls after and before their requests are decoded. Each of them gets an
// error, and the others go on, on one connection.
func TestMuxQPSLimit(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	for name, opt := range map[string]server.Option{
		"after decoding":  server.WithQPSLimiter(new(everyOther)),
		"before decoding": server.WithBoundHandler(bound.NewServerLimiterHandler(&limiter.DummyConcurrencyLimiter{}, new(everyOther), nil, false)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svc := startService(t, newTestGroup(t), &serviceFuncs{}, opt)
			c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1}, client.WithRPCTimeout(patience))
			eventually(t, "a first call is not refused, which would end the connection", func() bool {
				_, err := c.Repeat(context.Background(), "x", 1, "")
				return err == nil
			})
			dials := onlyStats(t, conns).Dials
			var served, refused int
			for range 60 {
				p, err := c.EchoPayload(context.Background(), &echo.Payload{Label: "x"})
				switch {
				case err == nil && p.Label == "x":
					served++
				case errors.Is(err, kerrors.ErrRemoteOrNetwork) && strings.Contains(err.Error(), kerrors.ErrQPSOverLimit.Error()):
					refused++
				default:
					t.Fatalf("got %v, %v", p, err)
				}
			}
			if served == 0 || refused == 0 {
				t.Errorf("%d calls served, %d refused", served, refused)
			}
			if st := onlyStats(t, conns); st.Dials != dials || st.Shared != 1 {
				t.Errorf("got %+v, want the same connection", st)
			}
		})
	}
}

// TestMuxConnectionLimit: a second connection is refused, and no call on the first.
func TestMuxConnectionLimit(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	svc := startService(t, newTestGroup(t), &serviceFuncs{}, server.WithConnectionLimiter(limiter.NewConnectionLimiter(1)))
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	eventually(t, "the first connection is taken", func() bool {
		_, err := c.Repeat(context.Background(), "x", 1, "")
		return err == nil // the test's first connection may not be gone yet
	})
	other, _ := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	if _, err := other.Repeat(context.Background(), "x", 1, ""); err == nil {
		t.Error("a second connection was served")
	}
	for range 10 {
		if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
			t.Error(err)
		}
	}
	if st := onlyStats(t, conns); st.Shared != 1 {
		t.Errorf("got %+v", st)
	}
}

// TestMuxInboundContext: bound handlers get the rpcinfo of the call before its request is decoded,
// and not one that the calls of the connection share.
func TestMuxInboundContext(t *testing.T) {
	t.Parallel()
	const callers, calls = 20, 20
	var mu sync.Mutex
	known, requests := false, 0
	inside := make(map[rpcinfo.RPCInfo]bool) // calls begun and not yet over
	onRead := func(ctx context.Context) {
		mu.Lock()
		defer mu.Unlock()
		if requests++; !known {
			return // the connection's rpcinfo: it may not be multiplexed
		}
		info := rpcinfo.GetRPCInfo(ctx)
		if inside[info] {
			t.Error("two calls at a time have one rpcinfo")
		}
		inside[info] = true
	}
	svc := startService(t, newTestGroup(t), &serviceFuncs{find: func(ctx context.Context, key string) (*echo.Message, error) {
		mu.Lock()
		defer mu.Unlock()
		info := rpcinfo.GetRPCInfo(ctx)
		if known && !inside[info] {
			t.Error("the handler has another rpcinfo than bound handlers had")
		}
		delete(inside, info)
		return &echo.Message{Text: key}, nil
	}}, server.WithBoundHandler(&inbound{noLimits(), onRead}))
	c, _ := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	if _, err := c.Find(context.Background(), "first"); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	known, requests = true, 0
	mu.Unlock()
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range calls {
				if _, err := c.Find(context.Background(), "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	mu.Lock()
	defer mu.Unlock()
	if requests != callers*calls {
		t.Errorf("bound handlers saw %d requests, want %d", requests, callers*calls)
	}
}

// TestMuxInboundOnce: bound handlers see a connection's first request once.
func TestMuxInboundOnce(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	var requests atomic.Int64
	svc := startService(t, newTestGroup(t), &serviceFuncs{}, server.WithBoundHandler(&inbound{noLimits(), func(context.Context) { requests.Add(1) }}))
	before := requests.Load() // of the connection that waited for the server to run
	c, _ := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	const calls = 5
	for range calls {
		if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := requests.Load() - before; got != calls {
		t.Errorf("bound handlers saw %d requests, want %d", got, calls)
	}
}
