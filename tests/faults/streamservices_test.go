package faults

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/streaming"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	pbservice "github.com/kiteline/kiteline/idl/kitex_gen/echopb/echostreamservice"
	"github.com/kiteline/kiteline/idl/kitex_gen/echostream"
	thriftservice "github.com/kiteline/kiteline/idl/kitex_gen/echostream/echostreamservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// told is the error of an operation on a stream, after the cut.
type told struct {
	op  string // beginning with the side, "client " or "server "
	err error
}

// account collects what the two sides of one stream are told.
type account struct {
	begun chan struct{} // closed when the handler has the first message
	armed chan struct{} // closed when the stream is cut off, or will be by the next bytes
	done  chan struct{} // closed when the handler has returned

	calls atomic.Int64 // ordinary ones

	mu   sync.Mutex
	told []told // guarded by mu
}

func newAccount() *account {
	return &account{begun: make(chan struct{}), armed: make(chan struct{}), done: make(chan struct{})}
}

// note keeps err and returns it.
func (a *account) note(op string, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, told{op, err})
	return err
}

func (a *account) all() []told {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.told)
}

// accounts has the account of the next stream of each shape.
type accounts struct{ next sync.Map }

// open returns the account of a stream of the shape that comes next.
func (s *accounts) open(sh shape) *account {
	a := newAccount()
	s.next.Store(sh, a)
	return a
}

func (s *accounts) of(sh shape) *account {
	a, _ := s.next.Load(sh)
	return a.(*account)
}

// service has the handlers of a protocol's streaming service. It serves one stream of each shape at a time.
type service[Req, Res any] struct{ accounts }

// bidirectional answers each message with one.
func (s *service[Req, Res]) bidirectional(ctx context.Context, stream streaming.BidiStreamingServer[Req, Res]) error {
	a := s.of(bidirectional)
	defer close(a.done)
	for first := true; ; first = false {
		_, err := stream.Recv(ctx)
		if err != nil {
			_ = a.note("server Recv", err)
			_ = a.note("server Send", stream.Send(ctx, new(Res)))
			return err
		}
		if first {
			close(a.begun)
		}
		if err := stream.Send(ctx, new(Res)); err != nil {
			return a.note("server Send", err)
		}
	}
}

// collect takes all messages and answers once.
func (s *service[Req, Res]) collect(ctx context.Context, stream streaming.ClientStreamingServer[Req, Res]) error {
	a := s.of(clientStream)
	defer close(a.done)
	for first := true; ; first = false {
		_, err := stream.Recv(ctx)
		switch {
		case errors.Is(err, io.EOF):
			_ = a.note("server Recv", err)
			return stream.SendAndClose(ctx, new(Res))
		case err != nil:
			return a.note("server Recv", err)
		case first:
			close(a.begun)
		}
	}
}

// mostMessages is how many messages a stream whose end nobody notices may have.
const mostMessages = 1 << 20

// expand sends messages until that fails.
func (s *service[Req, Res]) expand(ctx context.Context, stream streaming.ServerStreamingServer[Res]) error {
	a := s.of(serverStream)
	defer close(a.done)
	if err := stream.Send(ctx, new(Res)); err != nil {
		return a.note("server Send", err)
	}
	close(a.begun)
	<-a.armed
	for range mostMessages {
		if err := stream.Send(ctx, new(Res)); err != nil {
			return a.note("server Send", err)
		}
	}
	return a.note("server Send", errors.New("no error"))
}

// once is an ordinary call. The first of an account is answered at once.
func (s *service[Req, Res]) once() (*Res, error) {
	a := s.of(unary)
	if a.calls.Add(1) == 1 {
		return new(Res), nil
	}
	defer close(a.done)
	close(a.begun)
	<-a.armed
	return new(Res), nil
}

// shape is a kind of method.
type shape string

const (
	unary         shape = "unary"
	clientStream  shape = "client stream"
	serverStream  shape = "server stream"
	bidirectional shape = "bidirectional"
)

// shapes are all of them.
var shapes = []shape{unary, clientStream, serverStream, bidirectional}

// caller makes the calls of a protocol.
type caller[Req, Res any] struct {
	unary         func(ctx context.Context) error
	clientStream  func(ctx context.Context) (streaming.ClientStreamingClient[Req, Res], error)
	serverStream  func(ctx context.Context) (streaming.ServerStreamingClient[Res], error)
	bidirectional func(ctx context.Context) (streaming.BidiStreamingClient[Req, Res], error)
}

// warmUp has a connection exchange its first bytes: Kitex's gRPC client does not notice the end of one that has
// not received any (nphttp2/grpc/http2_client.go, SetOnRequest).
func (c caller[Req, Res]) warmUp(ctx context.Context) error { return c.unary(ctx) }

// run opens a stream, exchanges messages, has it cut off, and uses it until it is told. An error that
// comes before the cut is returned.
func (c caller[Req, Res]) run(ctx context.Context, sh shape, a *account, cut func()) error {
	switch sh {
	case unary:
		cut()
		_ = a.note("client call", c.unary(ctx))
		return nil
	case clientStream:
		return c.runClientStream(ctx, a, cut)
	case serverStream:
		return c.runServerStream(ctx, a, cut)
	case bidirectional:
		return c.runBidirectional(ctx, a, cut)
	}
	return errors.New("unknown shape")
}

func (c caller[Req, Res]) runClientStream(ctx context.Context, a *account, cut func()) error {
	stream, err := c.clientStream(ctx)
	if err == nil {
		err = stream.Send(ctx, new(Req))
	}
	if err != nil {
		return err
	}
	<-a.begun
	cut()
	if err := stream.Send(ctx, new(Req)); err != nil {
		_ = a.note("client Send", err)
	}
	_, err = stream.CloseAndRecv(ctx)
	_ = a.note("client CloseAndRecv", err)
	return nil
}

func (c caller[Req, Res]) runServerStream(ctx context.Context, a *account, cut func()) error {
	stream, err := c.serverStream(ctx)
	if err == nil {
		_, err = stream.Recv(ctx)
	}
	if err != nil {
		return err
	}
	<-a.begun
	cut()
	for err == nil {
		_, err = stream.Recv(ctx)
	}
	_ = a.note("client Recv", err)
	return nil
}

func (c caller[Req, Res]) runBidirectional(ctx context.Context, a *account, cut func()) error {
	stream, err := c.bidirectional(ctx)
	if err == nil {
		err = stream.Send(ctx, new(Req))
	}
	if err == nil {
		_, err = stream.Recv(ctx)
	}
	if err != nil {
		return err
	}
	cut()
	for err == nil {
		if err := stream.Send(ctx, new(Req)); err != nil {
			_ = a.note("client Send", err)
		}
		_, err = stream.Recv(ctx)
	}
	_ = a.note("client Recv", err)
	_ = a.note("client Send", stream.Send(ctx, new(Req)))
	return nil
}

// runner is a caller of either protocol.
type runner interface {
	warmUp(ctx context.Context) error
	run(ctx context.Context, sh shape, a *account, cut func()) error
}

// protocol is a way to carry streams.
type protocol struct {
	name string

	// serve returns what makes a server, and the accounts of its streams.
	serve func() (func(...server.Option) server.Server, *accounts)
	dial  func(t testing.TB, tr harness.Transport, addr net.Addr) runner
}

const (
	protocolTTHeader = "TTHeader"
	protocolGRPC     = "gRPC"
)

var protocols = []protocol{
	{protocolTTHeader, serveThrift, dialThrift},
	{protocolGRPC, serveGRPC, dialGRPC},
}

// thriftStreams implements idl/echostream.thrift.
type thriftStreams struct {
	service[echostream.Request, echostream.Response]
}

// Echo implements echostream.EchoStreamService.
func (s *thriftStreams) Echo(ctx context.Context, stream echostream.EchoStreamService_EchoServer) error {
	return s.bidirectional(ctx, stream)
}

// Collect implements echostream.EchoStreamService.
func (s *thriftStreams) Collect(ctx context.Context, stream echostream.EchoStreamService_CollectServer) error {
	return s.collect(ctx, stream)
}

// Expand implements echostream.EchoStreamService.
func (s *thriftStreams) Expand(ctx context.Context, _ *echostream.Request, stream echostream.EchoStreamService_ExpandServer) error {
	return s.expand(ctx, stream)
}

// EchoOnce implements echostream.EchoStreamService.
func (s *thriftStreams) EchoOnce(context.Context, *echostream.Request) (*echostream.Response, error) {
	return s.once()
}

func serveThrift() (func(...server.Option) server.Server, *accounts) {
	s := new(thriftStreams)
	return func(opts ...server.Option) server.Server { return thriftservice.NewServer(s, opts...) }, &s.accounts
}

func dialThrift(t testing.TB, tr harness.Transport, addr net.Addr) runner {
	cli := harness.Client(t, thriftservice.NewClient, tr, addr)
	return caller[echostream.Request, echostream.Response]{
		unary: func(ctx context.Context) error {
			_, err := cli.EchoOnce(ctx, new(echostream.Request))
			return err
		},
		clientStream: func(ctx context.Context) (streaming.ClientStreamingClient[echostream.Request, echostream.Response], error) {
			return cli.Collect(ctx)
		},
		serverStream: func(ctx context.Context) (streaming.ServerStreamingClient[echostream.Response], error) {
			return cli.Expand(ctx, new(echostream.Request))
		},
		bidirectional: func(ctx context.Context) (streaming.BidiStreamingClient[echostream.Request, echostream.Response], error) {
			return cli.Echo(ctx)
		},
	}
}

// grpcStreams implements idl/echopb.proto.
type grpcStreams struct {
	service[echopb.Request, echopb.Response]
}

// Chat implements echopb.EchoStreamService.
func (s *grpcStreams) Chat(ctx context.Context, stream echopb.EchoStreamService_ChatServer) error {
	return s.bidirectional(ctx, stream)
}

// Collect implements echopb.EchoStreamService.
func (s *grpcStreams) Collect(ctx context.Context, stream echopb.EchoStreamService_CollectServer) error {
	return s.collect(ctx, stream)
}

// Expand implements echopb.EchoStreamService.
func (s *grpcStreams) Expand(ctx context.Context, _ *echopb.Request, stream echopb.EchoStreamService_ExpandServer) error {
	return s.expand(ctx, stream)
}

// Echo implements echopb.EchoStreamService.
func (s *grpcStreams) Echo(context.Context, *echopb.Request) (*echopb.Response, error) {
	return s.once()
}

func serveGRPC() (func(...server.Option) server.Server, *accounts) {
	s := new(grpcStreams)
	return func(opts ...server.Option) server.Server { return pbservice.NewServer(s, opts...) }, &s.accounts
}

func dialGRPC(t testing.TB, tr harness.Transport, addr net.Addr) runner {
	cli := harness.Client(t, pbservice.NewClient, tr, addr, client.WithGRPCConnPoolSize(1))
	return caller[echopb.Request, echopb.Response]{
		unary: func(ctx context.Context) error {
			_, err := cli.Echo(ctx, new(echopb.Request))
			return err
		},
		clientStream: func(ctx context.Context) (streaming.ClientStreamingClient[echopb.Request, echopb.Response], error) {
			return cli.Collect(ctx)
		},
		serverStream: func(ctx context.Context) (streaming.ServerStreamingClient[echopb.Response], error) {
			return cli.Expand(ctx, new(echopb.Request))
		},
		bidirectional: func(ctx context.Context) (streaming.BidiStreamingClient[echopb.Request, echopb.Response], error) {
			return cli.Chat(ctx)
		},
	}
}
