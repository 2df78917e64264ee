package transport

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/transport/pool"
)

// contextsFactory wraps the handlers of its factory in a handler that keeps the contexts of
// connections.
type contextsFactory struct {
	remote.ServerTransHandlerFactory
	contexts *connContexts
}

// connContexts holds the contexts of connections.
type connContexts struct {
	mu     sync.Mutex
	opened []context.Context // guarded by mu
	closed []context.Context // guarded by mu
	looks  int               // guarded by mu
	bare   int               // looks that found no rpcinfo; guarded by mu
}

func (c *connContexts) look(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looks++
	if info := rpcinfo.GetRPCInfo(ctx); info == nil || info.From() == nil {
		c.bare++
	}
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

// OnRead looks at the rpcinfo when our handlers have returned, as users' handlers may.
func (h contextsHandler) OnRead(ctx context.Context, nc net.Conn) error {
	err := h.hidingHandler.OnRead(ctx, nc)
	h.contexts.look(ctx)
	return err
}

func (h contextsHandler) OnInactive(ctx context.Context, nc net.Conn) {
	h.contexts.look(ctx)
	h.hidingHandler.OnInactive(ctx, nc)
	h.contexts.mu.Lock()
	defer h.contexts.mu.Unlock()
	h.contexts.closed = append(h.contexts.closed, ctx)
}

// TestConnContext: the context of a connection with one call at a time keeps its rpcinfo. The
// context of a multiplexed one loses it once the first requests have been read, and keeps
// everything else; calls go on. A handler around ours always finds an rpcinfo.
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
	shared, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	for range 3 {
		if _, err := pooled.Repeat(context.Background(), "x", 1, ""); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		share(t, shared, conns)
	}
	opened := list(&contexts.opened)
	if len(opened) != 2 {
		t.Fatalf("%d connections, want one of either kind", len(opened))
	}
	eventually(t, "the shared one's rpcinfo is gone", func() bool { return rpcinfo.GetRPCInfo(opened[1]) == nil })
	if rpcinfo.GetRPCInfo(opened[0]) == nil {
		t.Error("the pooled connection has no rpcinfo")
	}
	for i, ctx := range opened {
		if remote.GetServiceSearcher(ctx) == nil || ctx.Value(userKey{}) != "below" || ctx.Err() != nil {
			t.Errorf("connection %d: its context has lost something: %v", i, ctx)
		}
	}
	_ = conns.Close()
	eventually(t, "the shared connection is closed", func() bool { return len(list(&contexts.closed)) == 1 })
	contexts.mu.Lock()
	defer contexts.mu.Unlock()
	if contexts.looks < 5 || contexts.bare > 0 { // 3 single calls, the first shared one, the end
		t.Errorf("of %d looks of a handler around ours %d found no rpcinfo", contexts.looks, contexts.bare)
	}
}
