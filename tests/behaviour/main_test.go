package behaviour

import (
	"testing"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { harness.Main(m) }

// echoClient is the client that most tests call.
type echoClient = echoservice.Client

// serveEcho serves the echo service at a free port until the test ends. No test here is about the
// end.
func serveEcho(t testing.TB, tr harness.Transport, handler echo.EchoService, opts ...server.Option) *harness.Server {
	t.Helper()
	return harness.Start(t, harness.ServerConfig{Transport: tr, New: harness.NewEcho(handler), Options: opts, QuickStop: true})
}
