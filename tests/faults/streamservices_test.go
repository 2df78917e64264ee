package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
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

// account collects what the two sides of one stream, or of one ordinary call, are told. The first
// message names it: a request may reach the server late, when other streams are in flight, or
// twice.
type account struct {
	name string

	begun chan struct{} // closed when the handler has the first message
	armed chan struct{} // closed when the stream is cut off, or will be by the next bytes
	done  chan struct{} // closed when the handler has returned

	begin, arm, finish func() // close begun, armed and done, once

	mu   sync.Mutex
	told []told // guarded by mu
}

func newAccount(name string) *account {
	a := &account{name: name, begun: make(chan struct{}), armed: make(chan struct{}), done: make(chan struct{})}
	a.begin = sync.OnceFunc(func() { close(a.begun) })
	a.arm = sync.OnceFunc(func() { close(a.armed) })
	a.finish = sync.OnceFunc(func() { close(a.done) })
	return a
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

// accounts are the accounts of a server's streams, by name. The names depend only on the order in
// which they were opened.
type accounts struct {
	mu  sync.Mutex
	all map[string]*account // guarded by mu
}

// open returns the account of a new stream.
func (s *accounts) open() *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[string]*account)
	}
	a := newAccount(strconv.Itoa(len(s.all)))
	s.all[a.name] = a
	return a
}

// named returns the account that a first message names.
func (s *accounts) named(name string) (*account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.all[name]
	if !ok {
		return nil, fmt.Errorf("a request of no account: %q", name)
	}
	return a, nil
}

// service has the handlers of a protocol's streaming service.
type service[Req, Res any] struct {
	accounts

	nameIn func(*Req) string // the account's name in a first message
}

// receiveFirst takes the first message of a stream with recv, and returns the account that it
// names.
func (s *service[Req, Res]) receiveFirst(ctx context.Context, recv func(context.Context) (*Req, error)) (*account, error) {
	first, err := recv(ctx)
	if err != nil {
		return nil, err
	}
	return s.named(s.nameIn(first))
}

// bidirectional answers each message with one.
func (s *service[Req, Res]) bidirectional(ctx context.Context, stream streaming.BidiStreamingServer[Req, Res]) error {
	a, err := s.receiveFirst(ctx, stream.Recv)
	if err != nil {
		return err
	}
	defer a.finish()
	a.begin()
	for {
		if err := stream.Send(ctx, new(Res)); err != nil {
			return a.note("server Send", err)
		}
		if _, err := stream.Recv(ctx); err != nil {
			_ = a.note("server Recv", err)
			_ = a.note("server Send", stream.Send(ctx, new(Res)))
			return err
		}
	}
}

// collect takes all messages and answers once.
func (s *service[Req, Res]) collect(ctx context.Context, stream streaming.ClientStreamingServer[Req, Res]) error {
	a, err := s.receiveFirst(ctx, stream.Recv)
	if err != nil {
		return err
	}
	defer a.finish()
	a.begin()
	for err == nil {
		_, err = stream.Recv(ctx)
	}
	_ = a.note("server Recv", err)
	if errors.Is(err, io.EOF) {
		return stream.SendAndClose(ctx, new(Res))
	}
	return err
}

// mostMessages is how many messages a stream may have if its end is not noticed.
const mostMessages = 1 << 20

// expand sends messages until a send fails.
func (s *service[Req, Res]) expand(ctx context.Context, r *Req, stream streaming.ServerStreamingServer[Res]) error {
	a, err := s.named(s.nameIn(r))
	if err != nil {
		return err
	}
	defer a.finish()
	if err := stream.Send(ctx, new(Res)); err != nil {
		return a.note("server Send", err)
	}
	a.begin()
	<-a.armed
	for range mostMessages {
		if err := stream.Send(ctx, new(Res)); err != nil {
			return a.note("server Send", err)
		}
	}
	return a.note("server Send", errors.New("no error"))
}

// warmUpName is the name in an ordinary call without an account, which is answered at once.
const warmUpName = "warm-up"

// once is an ordinary call.
func (s *service[Req, Res]) once(r *Req) (*Res, error) {
	name := s.nameIn(r)
	if name == warmUpName {
		return new(Res), nil
	}
	a, err := s.named(name)
	if err != nil {
		return nil, err
	}
	defer a.finish()
	a.begin()
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
	first func(name string) *Req // the first message, with the account's name

	unary         func(ctx context.Context, r *Req) error
	clientStream  func(ctx context.Context) (streaming.ClientStreamingClient[Req, Res], error)
	serverStream  func(ctx context.Context, r *Req) (streaming.ServerStreamingClient[Res], error)
	bidirectional func(ctx context.Context) (streaming.BidiStreamingClient[Req, Res], error)
}

// warmUp makes a connection exchange its first bytes: Kitex's gRPC client does not notice the end
// of a connection that has not received any (nphttp2/grpc/http2_client.go, SetOnRequest).
func (c caller[Req, Res]) warmUp(ctx context.Context) error { return c.unary(ctx, c.first(warmUpName)) }

// run opens a stream, exchanges messages, has it cut off, and uses it until it learns of the end.
// It returns an error that comes before the cut.
func (c caller[Req, Res]) run(ctx context.Context, sh shape, a *account, cut func()) error {
	switch sh {
	case unary:
		cut()
		_ = a.note("client call", c.unary(ctx, c.first(a.name)))
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
		err = stream.Send(ctx, c.first(a.name))
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
	stream, err := c.serverStream(ctx, c.first(a.name))
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
		err = stream.Send(ctx, c.first(a.name))
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
func (s *thriftStreams) Expand(ctx context.Context, r *echostream.Request, stream echostream.EchoStreamService_ExpandServer) error {
	return s.expand(ctx, r, stream)
}

// EchoOnce implements echostream.EchoStreamService.
func (s *thriftStreams) EchoOnce(_ context.Context, r *echostream.Request) (*echostream.Response, error) {
	return s.once(r)
}

func serveThrift() (func(...server.Option) server.Server, *accounts) {
	s := new(thriftStreams)
	s.nameIn = (*echostream.Request).GetText
	return func(opts ...server.Option) server.Server { return thriftservice.NewServer(s, opts...) }, &s.accounts
}

func dialThrift(t testing.TB, tr harness.Transport, addr net.Addr) runner {
	cli := harness.Client(t, thriftservice.NewClient, tr, addr)
	return caller[echostream.Request, echostream.Response]{
		first: func(name string) *echostream.Request { return &echostream.Request{Text: name} },
		unary: func(ctx context.Context, r *echostream.Request) error {
			_, err := cli.EchoOnce(ctx, r)
			return err
		},
		clientStream: func(ctx context.Context) (streaming.ClientStreamingClient[echostream.Request, echostream.Response], error) {
			return cli.Collect(ctx)
		},
		serverStream: func(ctx context.Context, r *echostream.Request) (streaming.ServerStreamingClient[echostream.Response], error) {
			return cli.Expand(ctx, r)
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
func (s *grpcStreams) Expand(ctx context.Context, r *echopb.Request, stream echopb.EchoStreamService_ExpandServer) error {
	return s.expand(ctx, r, stream)
}

// Echo implements echopb.EchoStreamService.
func (s *grpcStreams) Echo(_ context.Context, r *echopb.Request) (*echopb.Response, error) {
	return s.once(r)
}

func serveGRPC() (func(...server.Option) server.Server, *accounts) {
	s := new(grpcStreams)
	s.nameIn = (*echopb.Request).GetText
	return func(opts ...server.Option) server.Server { return pbservice.NewServer(s, opts...) }, &s.accounts
}

func dialGRPC(t testing.TB, tr harness.Transport, addr net.Addr) runner {
	cli := harness.Client(t, pbservice.NewClient, tr, addr, client.WithGRPCConnPoolSize(1))
	return caller[echopb.Request, echopb.Response]{
		first: func(name string) *echopb.Request { return &echopb.Request{Text: name} },
		unary: func(ctx context.Context, r *echopb.Request) error {
			_, err := cli.Echo(ctx, r)
			return err
		},
		clientStream: func(ctx context.Context) (streaming.ClientStreamingClient[echopb.Request, echopb.Response], error) {
			return cli.Collect(ctx)
		},
		serverStream: func(ctx context.Context, r *echopb.Request) (streaming.ServerStreamingClient[echopb.Response], error) {
			return cli.Expand(ctx, r)
		},
		bidirectional: func(ctx context.Context) (streaming.BidiStreamingClient[echopb.Request, echopb.Response], error) {
			return cli.Chat(ctx)
		},
	}
}
