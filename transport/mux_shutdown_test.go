package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/transmeta"
	kitextransmeta "github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// TestMuxShutdown stops a server with calls in flight on shared and on pooled connections. No call
// fails, and the server is gone soon after the last reply.
func TestMuxShutdown(t *testing.T) {
	t.Parallel()
	service := newHeldService()
	svc := startService(t, newTestGroup(t), service, server.WithExitWaitTime(patience))
	shared, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 2})
	share(t, shared, conns)
	pooled := newPooledClient(t, svc.address, client.WithTransportProtocol(kitextransport.TTHeaderFramed))
	const calls = 20
	var callers sync.WaitGroup
	for _, c := range []echoservice.Client{shared, pooled} {
		for i := range calls {
			callers.Go(func() {
				want := fmt.Sprint(i)
				if m, err := c.Find(context.Background(), want); err != nil || m.Text != want {
					t.Errorf("call %s: got %v, %v", want, messageText(m), err)
				}
			})
		}
	}
	for range 2 * calls {
		receive(t, "handler", service.began)
	}
	stopped := make(chan time.Time, 1)
	go func() {
		if err := svc.stop(); err != nil {
			t.Error(err)
		}
		stopped <- time.Now()
	}()
	eventually(t, "the client was told", func() bool { return onlyStats(t, conns).PeerDrains > 0 })
	select {
	case <-stopped:
		t.Error("stopped with calls in flight")
	default:
	}
	close(service.release)
	callers.Wait()
	answered := time.Now()
	if took := receive(t, "Stop", stopped).Sub(answered); took > 2*time.Second {
		t.Errorf("stopped %v after the last reply", took)
	}
}

// isRefused reports whether nothing listened.
func isRefused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// TestMuxExitWaitTime: a call that takes longer than the server waits is ended.
func TestMuxExitWaitTime(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	service := newHeldService()
	const wait = 200 * time.Millisecond
	svc := startService(t, newTestGroup(t), service, server.WithExitWaitTime(wait))
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	f := &muxFixture{client: c, pool: conns, service: service}
	done := f.held(context.Background(), t)
	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- svc.stop() }()
	if err := receive(t, "call", done); err == nil {
		t.Error("a call outlived its server")
	}
	if took := time.Since(began); took < wait {
		t.Errorf("the call was ended after %v, want %v", took, wait)
	}
	close(service.release)
	if err := receive(t, "Stop", stopped); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// hidingFactory wraps the handlers of its factory in a handler that has no GracefulShutdown.
type hidingFactory struct {
	remote.ServerTransHandlerFactory
}

func (f hidingFactory) NewTransHandler(opt *remote.ServerOption) (remote.ServerTransHandler, error) {
	h, err := f.ServerTransHandlerFactory.NewTransHandler(opt)
	return hidingHandler{h}, err
}

type hidingHandler struct{ remote.ServerTransHandler }

func (h hidingHandler) SetInvokeHandleFunc(f endpoint.Endpoint) {
	h.ServerTransHandler.(remote.InvokeHandleFuncSetter).SetInvokeHandleFunc(f)
}

// TestMuxShutdownUntold: a server's end does not wait for idle shared connections whose handler was
// not told of it. Their clients are told, and a call on such a connection is still answered.
func TestMuxShutdownUntold(t *testing.T) {
	t.Parallel()
	service := newHeldService()
	const wait = 2 * patience
	svc := startService(t, newTestGroup(t), service, server.WithExitWaitTime(wait),
		server.WithTransHandlerFactory(hidingFactory{NewServerTransHandlerFactory()}))
	release := sync.OnceFunc(func() { close(service.release) })
	t.Cleanup(release)
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	f := &muxFixture{client: c, pool: conns, service: service}
	done := f.held(context.Background(), t)
	idle, idlePool := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, idle, idlePool)
	stopped := make(chan error, 1)
	go func() { stopped <- svc.stop() }()
	eventually(t, "the idle connection has ended", func() bool { return onlyStats(t, idlePool).Connections == 0 })
	eventually(t, "the caller's side was told", func() bool { return onlyStats(t, conns).PeerDrains == 1 })
	if st := onlyStats(t, idlePool); st.PeerDrains != 1 || st.Deaths != 0 {
		t.Errorf("the idle one: got %+v, want a drain that the server asked for", st)
	}
	release()
	if err := receive(t, "call", done); err != nil {
		t.Errorf("a call in flight: %v", err)
	}
	if err := receive(t, "Stop", stopped); err != nil {
		t.Error(err)
	}
}

// resetting makes every reply say that its connection is about to be closed.
type resetting struct{ remote.MetaHandler }

func (resetting) WriteMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	msg.TransInfo().PutTransStrInfo(map[string]string{transmeta.HeaderConnectionReadyToReset: "1"})
	return ctx, nil
}

func (resetting) ReadMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	return ctx, nil
}

// TestMuxRetires: a client leaves a connection to a server that does not multiplex when the server
// says that it is about to close, as Kitex's servers do in their shutdown.
func TestMuxRetires(t *testing.T) {
	opts := append(stockOptions(), server.WithMetaHandler(resetting{}), server.WithMetaHandler(kitextransmeta.ServerTTHeaderHandler))
	svc := startService(t, newTestGroup(t), &serviceFuncs{}, opts...)
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{})
	const calls = 3
	for range calls {
		if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
			t.Error(err)
		}
	}
	if st := onlyStats(t, conns); st.Drains != calls || st.Dials != calls {
		t.Errorf("got %+v, want a connection for each of %d calls", st, calls)
	}
}
