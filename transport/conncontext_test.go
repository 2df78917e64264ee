package transport

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/server"
)

// contextsFactory makes the handlers of its factory within one that keeps the contexts of their connections.
type contextsFactory struct {
	remote.ServerTransHandlerFactory
	contexts *connContexts
}

// connContexts are the contexts of connections.
type connContexts struct {
	mu     sync.Mutex
	opened []context.Context // guarded by mu
	closed []context.Context // guarded by mu
}

func (f contextsFactory) NewTransHandler(opt *remote.ServerOption) (remote.ServerTransHandler, error) {
	h, err := f.ServerTransHandlerFactory.NewTransHandler(opt)
	return contextsHandler{hidingHandler{h}, f.contexts}, err
}

type contextsHandler struct {
	hidingHandler
	contexts *connContexts
}

type userKey struct{}

func (h contextsHandler) OnActive(ctx context.Context, nc net.Conn) (context.Context, error) {
	ctx, err := h.hidingHandler.OnActive(context.WithValue(ctx, userKey{}, "below"), nc)
	h.contexts.mu.Lock()
	defer h.contexts.mu.Unlock()
	h.contexts.opened = append(h.contexts.opened, ctx)
	return ctx, err
}

func (h contextsHandler) OnInactive(ctx context.Context, nc net.Conn) {
	h.hidingHandler.OnInactive(ctx, nc)
	h.contexts.mu.Lock()
	defer h.contexts.mu.Unlock()
	h.contexts.closed = append(h.contexts.closed, ctx)
}

// TestConnContext: the context of a connection of one call at a time keeps its rpcinfo. That of a multiplexed one
// is without, once its first requests have been read, and keeps everything else; calls go on.
func TestConnContext(t *testing.T) {
	contexts := &connContexts{}
	svc := startService(t, newTestGroup(t), &serviceFuncs{},
		server.WithTransHandlerFactory(contextsFactory{NewServerTransHandlerFactory(), contexts}))
	list := func(of *[]context.Context) []context.Context {
		contexts.mu.Lock()
		defer contexts.mu.Unlock()
		return append([]context.Context(nil), *of...)
	}
	pooled := newPooledClient(t, svc.address)
	shared, pool := newSharedClient(t, svc.address, MuxConfig{MaxConns: 1})
	for range 3 {
		if _, err := pooled.Repeat(context.Background(), "x", 1, ""); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		share(t, shared, pool)
	}
	opened := list(&contexts.opened)
	if len(opened) != 2 {
		t.Fatalf("%d connections, want one of either kind", len(opened))
	}
	eventuallyTB(t, "the shared one's rpcinfo is gone", func() bool { return rpcinfo.GetRPCInfo(opened[1]) == nil })
	if rpcinfo.GetRPCInfo(opened[0]) == nil {
		t.Error("the pooled connection has no rpcinfo")
	}
	for i, ctx := range opened {
		if remote.GetServiceSearcher(ctx) == nil || ctx.Value(userKey{}) != "below" || ctx.Err() != nil {
			t.Errorf("connection %d: its context has lost something: %v", i, ctx)
		}
	}
	_ = pool.Close()
	eventuallyTB(t, "the shared connection is closed", func() bool { return len(list(&contexts.closed)) == 1 })
}
