package mux

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) {
	harness.SideBySide()
	harness.Main(m)
}

// newClient returns a client whose calls share connections as cfg says, and its pool.
func newClient(t *testing.T, addr net.Addr, cfg pool.MuxConfig, opts ...client.Option) (echoservice.Client, *pool.Mux) {
	t.Helper()
	conns := pool.NewMux("echo", cfg)
	all := []client.Option{client.WithConnPool(conns), client.WithTransportProtocol(transport.TTHeader)}
	return harness.EchoClient(t, harness.KitelineMux, addr, append(all, opts...)...), conns
}

// callText calls Echo with text and checks the answer.
func callText(cli echoservice.Client, text string, opts ...callopt.Option) error {
	got, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Text: text}}, opts...)
	if err != nil {
		return err
	}
	if got.Message.Text != text {
		return fmt.Errorf("got the answer to %.40q, want that to %.40q", got.Message.Text, text)
	}
	return nil
}

// bulk is a message of bulkBytes that no codec sends by reference: each call has bytes of its own.
func bulk() *echo.Message {
	return &echo.Message{Text: "bulk", Tags: slices.Repeat([]string{"abcdefghijkl"}, bulkBytes/16)}
}

// bulkBytes is a little less than a power of two, the size of blocks of memory.
const bulkBytes = 252 << 10
