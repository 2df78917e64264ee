package transport

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/conn"
)

// echoHandler implements the methods of the echo service that the tests call.
type echoHandler struct{ echo.EchoService }

func (*echoHandler) Repeat(_ context.Context, text string, count int32, separator string) (string, error) {
	return strings.TrimSuffix(strings.Repeat(text+separator, int(count)), separator), nil
}

func (*echoHandler) EchoPayload(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	return p, nil
}

// startEcho serves the echo service on Kiteline until the test ends, and returns its address.
func startEcho(t testing.TB, g *conn.Group, opts ...server.Option) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	signal, running := whenRunning()
	srv := echoservice.NewServer(&echoHandler{}, append([]server.Option{
		server.WithSuite(NewServerSuite(WithGroup(g))),
		server.WithListener(ln),
		signal,
	}, opts...)...)
	served := make(chan error, 1)
	go func() { served <- srv.Run() }()
	receive(t, "running server", running)
	t.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			t.Error(err)
		}
		if err := receive(t, "Run", served); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// whenRunning returns an option that closes running when the server runs. A Stop before that would
// not reach the server, or leave Run without the listener whose address it asks for.
func whenRunning() (opt server.Option, running <-chan struct{}) {
	waits := make(chan struct{})
	return server.WithExitSignal(func() <-chan error {
		close(waits) // Kitex waits for a signal when all else is done
		return nil
	}), waits
}

// clientOptions is what the options before it have made of a client.
type clientOptions struct{ o *client.Options }

// option must be given last.
func (s *clientOptions) option() client.Option {
	return client.Option{F: func(o *client.Options, _ *utils.Slice) { s.o = o }}
}

// newEcho returns a client of the service at address and its options. The client's pool ends with
// the test.
func newEcho(t testing.TB, address string, opts ...client.Option) (echoservice.Client, *client.Options) {
	t.Helper()
	var seen clientOptions
	opts = append(opts, client.WithHostPorts(address), client.WithConnectTimeout(patience), seen.option())
	c, err := echoservice.NewClient("echo", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { seen.o.RemoteOpt.ConnPool.Close() })
	return c, seen.o
}
