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

// contextsFactory makes the handlers of its factory within one that keeps the contexts of their
// connections.
type contextsFactory struct {
	remote.ServerTransHandlerFactory
	contexts *connContexts
}

// connContexts are the contexts of connections.
type connContexts struct {
	mu     sync.Mutex
	opened []context.Context // guarded by mu
	closed []context.Context // guarded by mu
	looks  int               // guarded by mu
	bare   int               // of the looks at contexts those that found no rpcinfo; guarded by mu
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

// OnRead looks at the rpcinfo when ours have returned, as those of users' may.
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

// TestConnContext: the context of a connection of one call at a time keeps its rpcinfo. That of a
// multiplexed one is without, once its first requests have been read, and keeps everything else;
// calls go on. A handler around ours never finds it without.
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
	contexts.mu.Lock()
	defer contexts.mu.Unlock()
	if contexts.looks < 5 || contexts.bare > 0 { // 3 calls of one at a time, the first shared one, and the end
		t.Errorf("of %d looks of a handler around ours %d found no rpcinfo", contexts.looks, contexts.bare)
	}
}
