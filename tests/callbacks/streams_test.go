package callbacks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	grpcservice "github.com/kiteline/kiteline/idl/kitex_gen/echopb/echostreamservice"
	"github.com/kiteline/kiteline/idl/kitex_gen/echostream"
	ttservice "github.com/kiteline/kiteline/idl/kitex_gen/echostream/echostreamservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// streamWait is how long a client waits for a stream's end, because Kitex does not end every
// stream.
const streamWait = 150 * time.Millisecond * testkit.Slowdown

// grpcHandler and ttHandler fail in a stream that has begun.
type grpcHandler struct {
	echopb.EchoStreamService
	*failing
}

func (h *grpcHandler) Chat(ctx context.Context, stream echopb.EchoStreamService_ChatServer) error {
	if _, err := stream.Recv(ctx); err != nil {
		return err
	}
	h.visit(handler)
	return nil
}

type ttHandler struct {
	echostream.EchoStreamService
	*failing
}

func (h *ttHandler) Echo(ctx context.Context, stream echostream.EchoStreamService_EchoServer) error {
	if _, err := stream.Recv(ctx); err != nil {
		return err
	}
	h.visit(handler)
	return nil
}

// streams are the protocols whose streams Kitex runs itself.
var streams = map[string]struct {
	newServer func(f *failing) func(...server.Option) server.Server
	receive   func(t *testing.T, tr harness.Transport, s *harness.Server) error // how it ended
}{
	"gRPC": {
		func(f *failing) func(...server.Option) server.Server {
			return func(opts ...server.Option) server.Server {
				return grpcservice.NewServer(&grpcHandler{failing: f}, opts...)
			}
		},
		func(t *testing.T, tr harness.Transport, s *harness.Server) error {
			ctx, cancel := context.WithTimeout(t.Context(), streamWait)
			defer cancel()
			stream, err := harness.Client(t, grpcservice.NewClient, tr, s.Addr).Chat(ctx)
			if err != nil {
				return err
			}
			if err := stream.Send(ctx, &echopb.Request{Text: "x"}); err != nil {
				return err
			}
			_, err = stream.Recv(ctx)
			return err
		},
	},
	"TTHeader": {
		func(f *failing) func(...server.Option) server.Server {
			return func(opts ...server.Option) server.Server {
				return ttservice.NewServer(&ttHandler{failing: f}, opts...)
			}
		},
		func(t *testing.T, tr harness.Transport, s *harness.Server) error {
			ctx, cancel := context.WithTimeout(t.Context(), streamWait)
			defer cancel()
			stream, err := harness.Client(t, ttservice.NewClient, tr, s.Addr, client.WithShortConnection()).Echo(ctx)
			if err != nil {
				return err
			}
			if err := stream.Send(ctx, &echostream.Request{Text: "x"}); err != nil {
				return err
			}
			_, err = stream.Recv(ctx)
			return err
		},
	},
}

// A stream's handler runs on a goroutine of Kitex's. So its client learns what it learns from a
// stock server, which may be nothing. The connection ends with its client and leaves nothing.
func TestStreams(t *testing.T) {
	for _, e := range endings {
		for name, protocol := range streams {
			t.Run(e.name+"/"+name, func(t *testing.T) {
				heard := map[harness.Transport]string{}
				for _, tr := range harness.Both {
					baseline := harness.NewBaseline()
					t.Run(tr.String(), func(t *testing.T) {
						f := &failing{fail: e.fail}
						at := handler
						f.at.Store(&at)
						s := harness.Start(t, harness.ServerConfig{Transport: tr, New: protocol.newServer(f), ForcedStop: true})
						t.Run("client", func(t *testing.T) { heard[tr] = classOf(protocol.receive(t, tr, s)) })
						if got := f.events.Load(); got != 1 {
							t.Errorf("the handler failed %d times, want once", got)
						}
					})
					if tr == harness.Kiteline {
						baseline.Restored(t)
					}
				}
				if ours, stock := heard[harness.Kiteline], heard[harness.Netpoll]; ours != stock {
					t.Errorf("a client hears %q, and of a stock server %q", ours, stock)
				}
			})
		}
	}
}

// classOf returns the part of err that is the same on every transport.
func classOf(err error) string {
	switch {
	case err == nil:
		return "a reply"
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(err.Error(), "deadline exceeded"), strings.Contains(err.Error(), "timeout"):
		return "nothing"
	}
	return fmt.Sprintf("an error: %t", err != nil)
}
