package sharing

import (
	"net"
	"runtime"
	"testing"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// startAt serves handler at addr until the test ends, or at a free port if addr is nil.
func startAt(t testing.TB, handler echo.EchoService, addr net.Addr, opts ...server.Option) *harness.Server {
	t.Helper()
	cfg := harness.ServerConfig{New: harness.NewEcho(handler), Options: opts}
	if addr != nil {
		cfg.Listener = harness.ListenAgain(t, addr)
	}
	s := harness.Start(t, cfg)
	if g, ok := handler.(*gate); ok {
		t.Cleanup(g.open) // before the server's stop, which waits for handlers
	}
	return s
}

// serve is the role of a server that answers questions about itself.
func serve(t *testing.T, role *harness.Role) {
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	g := newGate()
	s := harness.Start(t, harness.ServerConfig{Listener: ln, New: harness.NewEcho(g)})
	defer g.open()
	role.Say("%d", ln.Addr().(*net.TCPAddr).Port)
	for {
		words := role.Heard()
		if words == nil {
			return
		}
		switch words[0] {
		case "held":
			role.Say("%d", g.held.Load())
		case "open-gate":
			g.open()
			role.Say("opened")
		case "open":
			role.Say("%d", s.Connections.Open())
		case "goroutines":
			role.Say("%d", runtime.NumGoroutine())
		case "memory":
			role.Say("%d", memory())
		default:
			t.Fatalf("asked for %q", words)
		}
	}
}

// startApart starts a server in a process of its own, and returns its address and its port. The
// port is the same at every address of this host.
func startApart(t *testing.T) (server *harness.Child, addr net.Addr, port string) {
	t.Helper()
	server = harness.StartChild(t, nil, "server")
	port = server.Hear(4 * testkit.Patience)
	addr, err := net.ResolveTCPAddr("tcp4", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Fatal(err)
	}
	return server, addr, port
}

// memory returns the bytes in use of this process's heap and stacks.
func memory() int64 {
	heap := harness.LiveHeap()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return heap + int64(stats.StackInuse)
}
