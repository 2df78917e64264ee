package callbacks

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/conn"
)

// point is a place where the user's code runs.
type point string

const (
	handler       point = "handler"
	middleware    point = "middleware"
	tracerStart   point = "tracer's Start"
	tracerFinish  point = "tracer's Finish"
	connLimiter   point = "limiter of connections"
	qpsLimiter    point = "limiter of calls"
	unmarshal     point = "codec's Unmarshal"
	marshal       point = "codec's Marshal"
	onActive      point = "OnActive"
	onRead        point = "OnRead"
	onMessage     point = "OnMessage"
	onWrite       point = "outbound handler"
	readMeta      point = "meta handler's ReadMeta"
	writeMeta     point = "meta handler's WriteMeta"
	onPressure    point = "OnPressure"
	onDisconnect  point = "OnDisconnect"
	closeCallback point = "close callback"
)

// points are all points of a server.
var points = []point{
	handler, middleware, tracerStart, tracerFinish, connLimiter, qpsLimiter, unmarshal, marshal, onActive,
	onRead, onMessage, onWrite, readMeta, writeMeta, onPressure, onDisconnect, closeCallback,
}

// isOfCall reports whether a call fails if p does: OnPressure and the points after it only report.
func (p point) isOfCall() bool {
	switch p {
	case onPressure, onDisconnect, closeCallback:
		return false
	}
	return true
}

// failing makes one point at a time fail.
type failing struct {
	fail   func()
	at     atomic.Pointer[point] // nil: none
	events atomic.Int64          // how often a point has failed
}

// visit is called at every point.
func (f *failing) visit(here point) {
	if at := f.at.Load(); at != nil && *at == here {
		f.events.Add(1)
		f.fail()
	}
}

// bounds are the bound, meta and tracing handlers of a server or client, and its codec.
type bounds struct {
	*failing
	remote.PayloadCodec
}

func newBounds(f *failing) *bounds {
	return &bounds{failing: f, PayloadCodec: thrift.NewPayloadCodec(thrift.Config{})}
}

func (b *bounds) OnActive(ctx context.Context, nc net.Conn) (context.Context, error) {
	c := nc.(netpoll.Connection)
	_ = c.AddCloseCallback(func(netpoll.Connection) error { b.visit(closeCallback); return nil })
	_ = nc.(interface {
		SetOnDisconnect(netpoll.OnDisconnect) error
	}).SetOnDisconnect(
		func(context.Context, netpoll.Connection) { b.visit(onDisconnect) })
	b.visit(onActive)
	return ctx, nil
}

func (b *bounds) OnInactive(ctx context.Context, _ net.Conn) context.Context { return ctx }

func (b *bounds) OnRead(ctx context.Context, _ net.Conn) (context.Context, error) {
	b.visit(onRead)
	return ctx, nil
}

func (b *bounds) OnMessage(ctx context.Context, _, _ remote.Message) (context.Context, error) {
	b.visit(onMessage)
	return ctx, nil
}

func (b *bounds) Write(ctx context.Context, _ net.Conn, _ remote.Message) (context.Context, error) {
	b.visit(onWrite)
	return ctx, nil
}

func (b *bounds) WriteMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	b.visit(writeMeta)
	return ctx, nil
}

func (b *bounds) ReadMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	b.visit(readMeta)
	return ctx, nil
}

func (b *bounds) Marshal(ctx context.Context, m remote.Message, out remote.ByteBuffer) error {
	b.visit(marshal)
	return b.PayloadCodec.Marshal(ctx, m, out)
}

func (b *bounds) Unmarshal(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	b.visit(unmarshal)
	return b.PayloadCodec.Unmarshal(ctx, m, in)
}

func (b *bounds) Start(ctx context.Context) context.Context {
	b.visit(tracerStart)
	return ctx
}

func (b *bounds) Finish(context.Context) { b.visit(tracerFinish) }

func (b *bounds) echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	b.visit(handler)
	return &echo.EchoResponse{Message: r.Message}, nil
}

// middleware is the middleware of a server or client.
func (b *bounds) middleware(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, request, response any) error {
		b.visit(middleware)
		return next(ctx, request, response)
	}
}

// serverOptions makes a server call b at every point, and accept as many connections as l allows.
func (b *bounds) serverOptions(l *limiter) []server.Option {
	return []server.Option{
		server.WithSuite(kiteline.NewServerSuite(kiteline.WithWatermarks(0, 1<<10,
			func(*conn.Conn, conn.Pressure) { b.visit(onPressure) }))),
		server.WithBoundHandler(b), server.WithMetaHandler(b), server.WithTracer(b),
		server.WithMiddleware(b.middleware), server.WithPayloadCodec(b),
		server.WithConnectionLimiter(l), server.WithQPSLimiter(rate{b}),
	}
}

// limiter is a limiter of connections with a count of its own.
type limiter struct {
	*failing
	most int64
	open atomic.Int64
}

func (l *limiter) Acquire(context.Context) bool {
	n := l.open.Add(1)
	l.visit(connLimiter)
	return n <= l.most
}

// Release is also called for connections that another handler has refused before (Kitex's
// TransPipeline.OnInactive).
func (l *limiter) Release(context.Context) {
	for n := l.open.Load(); n > 0 && !l.open.CompareAndSwap(n, n-1); n = l.open.Load() {
	}
}

func (l *limiter) Status(context.Context) (limit, occupied int) {
	return int(l.most), int(l.open.Load())
}

// rate is a limiter of calls that allows all calls.
type rate struct{ *bounds }

func (r rate) Acquire(context.Context) bool { r.visit(qpsLimiter); return true }

func (rate) Status(context.Context) (most, current int, interval time.Duration) {
	return 1 << 30, 0, time.Second
}
