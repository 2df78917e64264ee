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

	"github.com/kiteline/kiteline/idl/kitex_gen/echostream"
	"github.com/kiteline/kiteline/idl/kitex_gen/echostream/echostreamservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// thriftStreamService implements idl/echostream.thrift.
type thriftStreamService struct{}

// Echo answers each request with one response.
func (thriftStreamService) Echo(ctx context.Context, stream echostream.EchoStreamService_EchoServer) error {
	for {
		request, err := stream.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(ctx, &echostream.Response{Text: request.Text, Data: request.Data}); err != nil {
			return err
		}
	}
}

// Collect answers with the texts of all requests.
func (thriftStreamService) Collect(ctx context.Context, stream echostream.EchoStreamService_CollectServer) error {
	var texts []string
	for {
		request, err := stream.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(ctx, &echostream.Response{Text: strings.Join(texts, ",")})
		}
		if err != nil {
			return err
		}
		texts = append(texts, request.Text)
	}
}

// Expand answers with as many responses as asked for.
func (thriftStreamService) Expand(ctx context.Context, r *echostream.Request, stream echostream.EchoStreamService_ExpandServer) error {
	for n := range r.Count {
		if err := stream.Send(ctx, &echostream.Response{Text: r.Text, Index: n}); err != nil {
			return err
		}
	}
	return nil
}

// EchoOnce is an ordinary call.
func (thriftStreamService) EchoOnce(_ context.Context, r *echostream.Request) (*echostream.Response, error) {
	return &echostream.Response{Text: r.Text, Data: r.Data}, nil
}

var thriftMessages = messages[echostream.Request, echostream.Response]{
	request: func(i item, count int32) *echostream.Request {
		return &echostream.Request{Text: i.text, Data: i.data, Count: count}
	},
	read: func(r *echostream.Response) item { return item{r.Text, r.Data, r.Index} },
}

// TTHeader streaming. Its clients always dial with netpoll (ttstream/client_trans_pool.go), so this
// tests the server; with our client suite the ordinary call of the same client runs on Kiteline.
func TestTTHeaderStreams(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.ServerConfig{
		Transport:  harness.Kiteline,
		ForcedStop: true,
		New: func(opts ...server.Option) server.Server {
			return echostreamservice.NewServer(new(thriftStreamService), opts...)
		},
	})
	for _, tr := range harness.Both {
		for _, pool := range pooling {
			t.Run(fmt.Sprintf("%v client, %s", tr, pool.name), func(t *testing.T) {
				cli := harness.Client(t, echostreamservice.NewClient, tr, s.Addr, pool.option)
				errs := make([]error, callers)
				var wg sync.WaitGroup
				for caller := range callers {
					wg.Go(func() { errs[caller] = callTTStream(cli) })
				}
				wg.Wait()
				if err := errors.Join(errs...); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func callTTStream(cli echostreamservice.Client) error {
	ctx := context.Background()
	once, err := cli.EchoOnce(ctx, &echostream.Request{Text: "once"})
	if err != nil || once.Text != "once" {
		return fmt.Errorf("EchoOnce: got %v, %w", once, err)
	}
	echo, err := cli.Echo(ctx)
	if err == nil {
		err = thriftMessages.bidirectional(echo)
	}
	if err != nil {
		return fmt.Errorf("Echo: %w", err)
	}
	collect, err := cli.Collect(ctx)
	if err == nil {
		err = thriftMessages.clientStream(collect)
	}
	if err != nil {
		return fmt.Errorf("Collect: %w", err)
	}
	expand, err := cli.Expand(ctx, thriftMessages.request(item{text: "expand"}, streamRounds))
	if err == nil {
		err = thriftMessages.serverStream(expand)
	}
	if err != nil {
		return fmt.Errorf("Expand: %w", err)
	}
	return nil
}
