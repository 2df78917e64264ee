package lifecycle

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// A listener of netpoll's, which a program may have from before, is served and stopped like any
// other. Its Accept does not wait: if there is no connection, it returns neither a connection nor
// an error.
func TestNetpollListener(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			ln, err := netpoll.CreateListener(network, address)
			if err != nil {
				t.Fatal(err)
			}
			s := harness.Start(t, harness.ServerConfig{Listener: ln, New: harness.NewEcho(new(harness.Service))})
			cli := harness.EchoClient(t, harness.Netpoll, ln.Addr())
			for n := range 3 {
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Error(err)
				}
			}
			s.MustStop() // it fails unless Run returns nil
			if harness.CanDial(ln.Addr()) {
				t.Error("somebody listens after Stop")
			}
		})
	}
}

// A wrapper around such a listener is not recognised, and its Accept need not be netpoll's; Run
// says why it cannot be served.
func TestListenerThatDoesNotWait(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := harness.NewEcho(new(harness.Service))(append(harness.Kiteline.ServerOptions(),
		server.WithListener(struct{ netpoll.Listener }{ln}), server.WithExitSignal(func() <-chan error { return nil }))...)
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	if err := testkit.Receive(t, "Run's result", done); err == nil || !strings.Contains(err.Error(), "instead of waiting") {
		t.Errorf("Run: got %v, want an error that says that Accept does not wait", err)
	}
}
