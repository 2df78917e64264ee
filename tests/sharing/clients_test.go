package sharing

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// maxConns is how many connections a sharing client may have unless a test says otherwise.
const maxConns = 2

// kind is a way in which calls use connections.
type kind string

const (
	pooled kind = "pooled"
	shared kind = "shared"
)

// kinds are both kinds, first the one that says what is right.
func kinds() []kind { return []kind{pooled, shared} }

// eachKind runs a test with both kinds.
func eachKind(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds() {
		t.Run(string(k), func(t *testing.T) { test(t, k) })
	}
}

// caller is a client and the pool of its connections.
type caller struct {
	echoservice.Client
	addr net.Addr
	pool remote.LongConnPool
}

// newCaller returns a client of addr. cfg is for sharing clients: a pooled one has a connection for
// each call in flight, which is kept for as long as cfg says.
func newCaller(t *testing.T, k kind, addr net.Addr, cfg pool.MuxConfig, opts ...client.Option) *caller {
	t.Helper()
	c := &caller{addr: addr}
	c.Client = harness.CustomClient(t, echoservice.NewClient, c.options(k, cfg, opts)...)
	return c
}

// options returns the options of a client of the kind, and gives c its pool.
func (c *caller) options(k kind, cfg pool.MuxConfig, opts []client.Option) []client.Option {
	suite := kiteline.NewMuxClientSuite()
	switch {
	case k == shared && cfg != (pool.MuxConfig{}):
		suite = kiteline.NewMuxClientSuite(kiteline.WithMux(cfg))
	case k == pooled:
		suite = kiteline.NewClientSuite(kiteline.WithPool(pool.Config{
			MaxIdlePerAddress: 10_000, MaxIdleGlobal: 10_000, MaxIdleTimeout: cfg.IdleTimeout,
		}))
	}
	all := []client.Option{client.WithSuite(suite), client.WithTransportProtocol(transport.TTHeader),
		client.WithConnectTimeout(testkit.Patience)}
	if c.addr != nil {
		all = append(all, client.WithHostPorts(c.addr.String()))
	}
	all = append(all, opts...)
	return append(all, client.TailOption(client.Option{F: func(o *client.Options, _ *utils.Slice) {
		c.pool, _ = o.RemoteOpt.ConnPool.(remote.LongConnPool)
	}}))
}

// stats returns the statistics of a sharing client's connections.
func (c *caller) stats(t *testing.T) mux.Stats {
	t.Helper()
	conns, ok := c.pool.(*pool.Mux)
	if !ok {
		t.Fatalf("got a %T, want a *pool.Mux", c.pool)
	}
	return conns.Stats().Stats
}

// echo calls Echo with text and additional bytes, and checks the answer's text.
func (c *caller) echo(ctx context.Context, text string, attached []byte, opts ...callopt.Option) error {
	got, err := c.Echo(ctx, &echo.EchoRequest{Message: &echo.Message{Text: text, Attachment: attached}}, opts...)
	if err != nil {
		return err
	}
	if got.Message.Text != text {
		return fmt.Errorf("got the answer to %.40q, want that to %.40q", got.Message.Text, text)
	}
	return nil
}

// call makes a quick call.
func (c *caller) call() error { return c.echo(context.Background(), "quick", nil) }
