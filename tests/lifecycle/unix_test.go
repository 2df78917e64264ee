package lifecycle

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/conn"
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
	t.Parallel()
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			t.Parallel()
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

// A file at the path that is not a socket belongs to another program: Run fails and the file stays.
// Kitex's own transport deletes it.
func TestUnixSocketSparesOtherFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := harness.NewEcho(new(harness.Service))(append(harness.Kiteline.ServerOptions(),
		server.WithServiceAddr(&net.UnixAddr{Name: path, Net: "unix"}),
		server.WithExitSignal(func() <-chan error { return nil }))...)
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	if err := testkit.Receive(t, "Run's result", done); !errors.Is(err, conn.ErrNotSocket) {
		t.Errorf("Run: got %v, want %v", err, conn.ErrNotSocket)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "data" {
		t.Errorf("the file: got %q, %v, want it untouched", got, err)
	}
}

// serveUnix is the role of the other processes of TestUnixSocketChangesHands: it starts and stops
// servers on the given path, as the test says.
func serveUnix(t *testing.T, role *harness.Role) {
	addr := &net.UnixAddr{Name: role.Arguments[0], Net: "unix"}
	var s *harness.Server
	for words := role.Heard(); words != nil; words = role.Heard() {
		switch words[0] {
		case "start":
			s = harness.Start(t, harness.ServerConfig{Addr: addr, New: harness.NewEcho(new(harness.Service))})
		case "stop":
			s.MustStop()
		}
		role.Say("done")
	}
}

// TestUnixSocketChangesHands lets two processes serve the same path, each started before the other
// stops. A client that dials all the time is always accepted, calls are answered, and no file is
// left in the end.
func TestUnixSocketChangesHands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "server.sock")
	leaveSocketFile(t, path)
	children := []*harness.Child{
		harness.StartChild(t, nil, "unix server", path),
		harness.StartChild(t, nil, "unix server", path),
	}
	children[0].Ask("start")
	cli := harness.EchoClient(t, harness.Netpoll, &net.UnixAddr{Name: path, Net: "unix"}, client.WithShortConnection())
	var stop atomic.Bool
	var dialers sync.WaitGroup
	for range 2 {
		dialers.Go(func() { dialAllTheTime(t, path, &stop) })
	}
	handovers := testkit.Scale(10, 300)
	for n := range handovers {
		older, newer := children[n%2], children[(n+1)%2]
		newer.Ask("start")
		older.Ask("stop")
		if err := harness.CallEcho(context.Background(), cli, n); err != nil {
			t.Errorf("handover %d: %v", n, err)
		}
	}
	stop.Store(true)
	dialers.Wait()
	children[handovers%2].Ask("stop")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("in the folder: got %v, %v, want nothing", left, err)
	}
}

// TestUnixListenerOfNetpollSparesSuccessor: netpoll's Close removes the file at its listener's
// path, whatever server that file belongs to. A server on such a listener leaves its successor's
// file in place and removes its own.
func TestUnixListenerOfNetpollSparesSuccessor(t *testing.T) {
	testsystem.SkipWithoutNetwork(t, "unix")
	dir := t.TempDir()
	addr := &net.UnixAddr{Name: filepath.Join(dir, "server.sock"), Net: "unix"}
	ln, err := netpoll.CreateListener("unix", addr.Name)
	if err != nil {
		t.Fatal(err)
	}
	older := harness.Start(t, harness.ServerConfig{Listener: ln, New: harness.NewEcho(new(harness.Service))})
	newer := harness.Start(t, harness.ServerConfig{Addr: addr, SharesPort: true, New: harness.NewEcho(new(harness.Service))})
	older.MustStop()
	cli := harness.EchoClient(t, harness.Netpoll, addr, client.WithShortConnection())
	if err := harness.CallEcho(context.Background(), cli, 1); err != nil {
		t.Error(err)
	}
	newer.MustStop()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("in the folder: got %v, %v, want nothing", left, err)
	}
}

// dialAllTheTime dials path, some thousand times a second, until it is told to stop.
func dialAllTheTime(t *testing.T, path string, stop *atomic.Bool) {
	pace := time.NewTicker(200 * time.Microsecond)
	defer pace.Stop()
	for !stop.Load() {
		<-pace.C
		c, err := net.Dial("unix", path)
		switch {
		case err == nil:
			c.Close()
		case !errors.Is(err, syscall.EAGAIN): // the accept queue is full
			t.Error(err)
			return
		}
	}
}
