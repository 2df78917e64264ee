package lifecycle

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	"github.com/kiteline/kiteline/idl/kitex_gen/echopb/echostreamservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// chat implements one stream of idl/echopb.proto.
type chat struct{ echopb.EchoStreamService }

// Chat answers each request with its text.
func (chat) Chat(ctx context.Context, stream echopb.EchoStreamService_ChatServer) error {
	for {
		request, err := stream.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(ctx, &echopb.Response{Text: request.Text}); err != nil {
			return err
		}
	}
}

// A gRPC stream that is open when the server stops may finish, and Stop waits for it
// (nphttp2/server_handler.go, GracefulShutdown); connections without streams do not delay it.
func TestStopFinishesGRPCStreams(t *testing.T) {
	t.Parallel()
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, harness.ServerConfig{
				Transport: tr,
				New: func(opts ...server.Option) server.Server {
					return echostreamservice.NewServer(new(chat), opts...)
				},
			})
			ctx := context.Background()
			stream, err := harness.Client(t, echostreamservice.NewClient, tr, s.Addr).Chat(ctx)
			if err != nil {
				t.Fatal(err)
			}
			say := func(text string) {
				t.Helper()
				if err := stream.Send(ctx, &echopb.Request{Text: text}); err != nil {
					t.Fatalf("send: %v", err)
				}
				if got, err := stream.Recv(ctx); err != nil || got.Text != text {
					t.Fatalf("receive: got %v, %v, want %q", got, err, text)
				}
			}
			say("before")
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				s.MustStop()
			}()
			refusedSoon(t, s)
			say("while the server stops")
			if err := stream.CloseSend(ctx); err != nil {
				t.Error(err)
			}
			if _, err := stream.Recv(ctx); !errors.Is(err, io.EOF) {
				t.Errorf("end of the stream: got %v, want %v", err, io.EOF)
			}
			testkit.Receive(t, "Stop", stopped)
		})
	}
}
