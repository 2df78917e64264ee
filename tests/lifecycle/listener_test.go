package lifecycle

import (
	"context"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

// A listener of netpoll's, which a program may have from before, is served, or
// Run says that it cannot be. Its Accept does not wait, and returns neither a
// connection nor an error when there is none.
func TestNetpollListener(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := harness.NewEcho(new(harness.Service))(append(harness.Kiteline.ServerOptions(),
		server.WithListener(ln), server.WithExitSignal(func() <-chan error { return nil }))...)
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	t.Cleanup(func() { _ = s.Stop() })

	cli := harness.EchoClient(t, harness.Netpoll, ln.Addr(), client.WithRPCTimeout(harness.Patience/30))
	harness.Eventually(t, "Run returns, or calls are answered", func() bool {
		select {
		case err := <-done:
			if err == nil {
				t.Error("Run: got nil, want an error")
			}
			return true
		default:
		}
		return harness.CallEcho(context.Background(), cli, 0) == nil
	})
}
