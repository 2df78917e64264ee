package behaviour

import (
	"context"
	"fmt"
	"maps"
	"testing"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// Business errors travel with code, message and extra in TTHeader, if both sides have
// Kitex's handler for that (pkg/transmeta/ttheader.go).
func TestBusinessError(t *testing.T) {
	extra := map[string]string{"reason": "sold out", "retry": "no"}
	handler := func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error) {
		return nil, kerrors.NewBizStatusErrorWithExtra(404, "no such thing", extra)
	}
	for _, tr := range harness.Both {
		for _, protocol := range []transport.Protocol{transport.TTHeader, transport.TTHeaderFramed} {
			t.Run(fmt.Sprintf("%v %v", tr, protocol), func(t *testing.T) {
				s := serveEcho(t, tr, &harness.Service{OnEcho: handler}, server.WithMetaHandler(transmeta.ServerTTHeaderHandler))
				cli := harness.EchoClient(t, tr, s.Addr,
					client.WithTransportProtocol(protocol), client.WithMetaHandler(transmeta.ClientTTHeaderHandler))
				_, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: harness.FullMessage(0)})
				got, ok := kerrors.FromBizStatusError(err)
				if !ok {
					t.Fatalf("got %v, want a business error", err)
				}
				if got.BizStatusCode() != 404 || got.BizMessage() != "no such thing" || !maps.Equal(got.BizExtra(), extra) {
					t.Errorf("got %v with %v, want code 404, the message and %v", got, got.BizExtra(), extra)
				}
			})
		}
	}
}

// A handler that fails or panics costs the call, but neither its connection nor the server
// (default_server_handler.go, writeErrorReplyIfNeeded).
func TestHandlerFailureKeepsConnection(t *testing.T) {
	failures := map[string]func() error{
		"error": func() error { return fmt.Errorf("no luck") },
		"panic": func() error { panic("boom") },
	}
	for name, fail := range failures {
		for _, tr := range harness.Both {
			t.Run(fmt.Sprintf("%s, %v", name, tr), func(t *testing.T) {
				s := serveEcho(t, tr, &harness.Service{OnEcho: func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
					if r.Message.Text == "message 0" {
						return nil, fail()
					}
					return &echo.EchoResponse{Message: r.Message}, nil
				}})
				cli := harness.EchoClient(t, tr, s.Addr)
				before := s.Connections.Accepted()
				// The server's side must answer both on one connection.
				connection := harness.Dial(t, s.Addr)
				for _, text := range []string{"message 0", "message 1"} {
					if _, err := connection.Write(harness.EchoFrame(t, text)); err != nil {
						t.Fatal(err)
					}
					if err := harness.ReadFrame(connection); err != nil {
						t.Fatalf("reply to %s: %v", text, err)
					}
				}
				if err := harness.CallEcho(context.Background(), cli, 0); err == nil {
					t.Error("got no error of the failing call")
				}
				if err := harness.CallEcho(context.Background(), cli, 1); err != nil {
					t.Errorf("call after the failed one: %v", err)
				}
				// Kitex's client discards a connection whose call failed.
				if got, want := s.Connections.Accepted()-before, 3; got != want {
					t.Errorf("connections: got %v, want %v", got, want)
				}
			})
		}
	}
}

// Transient and persistent values reach the handler, and backward values the caller
// (bound/transmeta_bound.go); persistent ones stay, transient ones become the handler's own.
func TestMetainfo(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			received := make(chan map[string]string, 1)
			s := serveEcho(t, tr, &harness.Service{OnEcho: func(ctx context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
				transient, _ := metainfo.GetValue(ctx, "transient")
				persistent, _ := metainfo.GetPersistentValue(ctx, "persistent")
				received <- map[string]string{"transient": transient, "persistent": persistent}
				if !metainfo.SendBackwardValue(ctx, "backward", "3") {
					t.Error("SendBackwardValue: got false, want true")
				}
				return &echo.EchoResponse{Message: r.Message}, nil
			}})
			cli := harness.EchoClient(t, tr, s.Addr, client.WithTransportProtocol(transport.TTHeader))
			ctx := metainfo.WithValue(context.Background(), "transient", "1")
			ctx = metainfo.WithPersistentValue(ctx, "persistent", "2")
			ctx = metainfo.WithBackwardValues(ctx)
			if err := harness.CallEcho(ctx, cli, 0); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"transient": "1", "persistent": "2"}
			if got := testkit.Receive(t, "what the handler got", received); !maps.Equal(got, want) {
				t.Errorf("handler: got %v, want %v", got, want)
			}
			if got, ok := metainfo.RecvBackwardValue(ctx, "backward"); got != "3" || !ok {
				t.Errorf("backward value: got %q, %v, want 3", got, ok)
			}
		})
	}
}
