package lifecycle

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

// leaveSocketFile leaves a Unix socket's file without a listener, as a process
// that was killed does.
func leaveSocketFile(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

// A socket's file from before is replaced (netpoll/trans_server.go,
// CreateListener), and a server can be started again and again on the same
// path.
func TestUnixSocketIsReplaced(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			leaveSocketFile(t, path)
			addr := &net.UnixAddr{Name: path, Net: "unix"}
			for n := range 3 {
				s := harness.Start(t, harness.ServerConfig{Transport: tr, Addr: addr, New: harness.NewEcho(new(harness.Service))})
				cli := harness.EchoClient(t, tr, addr)
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Fatal(err)
				}
				s.MustStop()
			}
		})
	}
}

// A file at the path that is no socket is somebody's: Run fails and the file stays. Kitex's own
// transport deletes it.
func TestUnixSocketSparesOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := harness.NewEcho(new(harness.Service))(append(harness.Kiteline.ServerOptions(),
		server.WithServiceAddr(&net.UnixAddr{Name: path, Net: "unix"}),
		server.WithExitSignal(func() <-chan error { return nil }))...)
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	if err := harness.Receive(t, "Run's result", done); err == nil {
		t.Error("Run: got nil, want an error")
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "data" {
		t.Errorf("the file: got %q, %v, want it untouched", got, err)
	}
}
