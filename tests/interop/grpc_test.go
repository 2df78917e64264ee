package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	"github.com/kiteline/kiteline/idl/kitex_gen/echopb/echostreamservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// grpcPairs leaves out a gonet server, which does not know gRPC.
var grpcPairs = []pair{
	{harness.Kiteline, harness.Kiteline, "tcp"},
	{harness.Kiteline, harness.Netpoll, "tcp"},
	{harness.Netpoll, harness.Kiteline, "tcp"},
}

// pbStreamService implements the streams of idl/echopb.proto.
type pbStreamService struct{ pbService }

// Chat answers each request with one response.
func (s pbStreamService) Chat(ctx context.Context, stream echopb.EchoStreamService_ChatServer) error {
	for {
		request, err := stream.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		response, _ := s.Echo(ctx, request)
		if err := stream.Send(ctx, response); err != nil {
			return err
		}
	}
}

// Collect answers with the texts of all requests.
func (pbStreamService) Collect(ctx context.Context, stream echopb.EchoStreamService_CollectServer) error {
	var texts []string
	for {
		request, err := stream.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(ctx, &echopb.Response{Text: strings.Join(texts, ",")})
		}
		if err != nil {
			return err
		}
		texts = append(texts, request.Text)
	}
}

// Expand answers with as many responses as asked for.
func (pbStreamService) Expand(ctx context.Context, r *echopb.Request, stream echopb.EchoStreamService_ExpandServer) error {
	for n := range r.Count {
		if err := stream.Send(ctx, &echopb.Response{Text: r.Text, Index: n}); err != nil {
			return err
		}
	}
	return nil
}

var pbMessages = messages[echopb.Request, echopb.Response]{
	request: func(i item, count int32) *echopb.Request {
		return &echopb.Request{Text: i.text, Data: i.data, Count: count}
	},
	read: func(r *echopb.Response) item { return item{r.Text, r.Data, r.Index} },
}

// gRPC, unary and in all directions of streaming, several streams at once on
// the client's connections.
func TestGRPCStreams(t *testing.T) {
	t.Parallel()
	for _, p := range grpcPairs {
		t.Run(fmt.Sprintf("%v to %v", p.client, p.server), func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, harness.ServerConfig{
				Transport: p.server,
				New: func(opts ...server.Option) server.Server {
					return echostreamservice.NewServer(new(pbStreamService), opts...)
				},
			})
			cli := harness.Client(t, echostreamservice.NewClient, p.client, s.Addr)
			errs := make([]error, callers)
			var wg sync.WaitGroup
			for caller := range callers {
				wg.Go(func() { errs[caller] = callGRPC(cli) })
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Error(err)
			}
		})
	}
}

func callGRPC(cli echostreamservice.Client) error {
	ctx := context.Background()
	if err := checkProtobufEcho(cli.Echo(ctx, protobufRequest(1)))(1); err != nil {
		return err
	}
	chat, err := cli.Chat(ctx)
	if err == nil {
		err = pbMessages.bidirectional(chat)
	}
	if err != nil {
		return fmt.Errorf("Chat: %w", err)
	}
	collect, err := cli.Collect(ctx)
	if err == nil {
		err = pbMessages.clientStream(collect)
	}
	if err != nil {
		return fmt.Errorf("Collect: %w", err)
	}
	expand, err := cli.Expand(ctx, pbMessages.request(item{text: "expand"}, streamRounds))
	if err == nil {
		err = pbMessages.serverStream(expand)
	}
	if err != nil {
		return fmt.Errorf("Expand: %w", err)
	}
	return nil
}
