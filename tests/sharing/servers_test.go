package sharing

import (
	"net"
	"testing"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// startAt serves handler at addr until the test ends, or at a free port if addr is nil.
func startAt(t testing.TB, handler echo.EchoService, addr net.Addr, opts ...server.Option) *harness.Server {
	t.Helper()
	cfg := harness.ServerConfig{New: harness.NewEcho(handler), Options: opts}
	if addr != nil {
		ln, err := net.Listen(addr.Network(), addr.String())
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listener = ln
	}
	s := harness.Start(t, cfg)
	if g, ok := handler.(*gate); ok {
		t.Cleanup(g.open) // before the server's stop, which waits for handlers
	}
	return s
}

// serve is the role of a server.
func serve(t *testing.T, role *harness.Role) {
	s := startAt(t, newGate(), nil)
	role.Say("%v", s.Addr)
	for role.Heard() != nil {
	}
}
