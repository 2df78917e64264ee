package transport

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/transport/pool"
)

// TestClientSuitePool checks which pool Kitex's options and the suite's result in, in either order.
func TestClientSuitePool(t *testing.T) {
	g := newTestGroup(t)
	suite := func(opts ...ClientOption) client.Option {
		return client.WithSuite(NewClientSuite(append(opts, WithGroup(g))...))
	}
	long := client.WithLongConnection(connpool.IdleConfig{MinIdlePerAddress: 2, MaxIdlePerAddress: 20, MaxIdleGlobal: 30, MaxIdleTimeout: 5 * time.Second})
	given := pool.New("given", pool.Config{})
	defer given.Close()
	fromLong := pool.Config{MinIdlePerAddress: 2, MaxIdlePerAddress: 20, MaxIdleGlobal: 30, MaxIdleTimeout: 5 * time.Second}
	mine := pool.Config{MaxIdlePerAddress: 7, MaxConnsPerAddress: 9}
	both := fromLong
	both.MaxConnsPerAddress = 9
	for _, tc := range []struct {
		name string
		opts []client.Option
		want any // a pool.Config of our own pool, or a pool, or a pool's type
	}{
		{"suite", []client.Option{suite()}, pool.Config{}},
		{"suite twice", []client.Option{suite(), suite()}, pool.Config{}},
		{"suite twice, the first with a pool", []client.Option{suite(WithPool(mine)), suite()}, mine},
		{"suite twice, the second with a pool", []client.Option{suite(), suite(WithPool(mine))}, mine},
		{"suite twice, each with a pool", []client.Option{suite(WithPool(pool.Config{MaxIdlePerAddress: 3})), suite(WithPool(mine))}, mine},
		{"WithPool", []client.Option{suite(WithPool(mine))}, mine},
		{"suite, long", []client.Option{suite(), long}, fromLong},
		{"long, suite", []client.Option{long, suite()}, fromLong},
		{"long, WithPool: Kitex's numbers and ours", []client.Option{long, suite(WithPool(mine))}, both},
		{"WithPool, long", []client.Option{suite(WithPool(mine)), long}, both},
		{"suite, short", []client.Option{suite(), client.WithShortConnection()}, "*connpool.ShortPool"},
		{"short, suite", []client.Option{client.WithShortConnection(), suite()}, "*connpool.ShortPool"},
		{"suite, short, long", []client.Option{suite(), client.WithShortConnection(), long}, fromLong},
		{"suite, given", []client.Option{suite(), client.WithConnPool(given)}, given},
		{"given, suite", []client.Option{client.WithConnPool(given), suite(), long}, given},
		{"gRPC", []client.Option{suite(), client.WithTransportProtocol(transport.GRPC)}, "*nphttp2.connPool"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, o := newEcho(t, "127.0.0.1:1", tc.opts...)
			conns := o.RemoteOpt.ConnPool
			switch want := tc.want.(type) {
			case pool.Config:
				ours, ok := conns.(*pool.Pool)
				if !ok {
					t.Fatalf("got %T, want our pool", conns)
				}
				if got, want := ours.Config(), pool.New("", want).Config(); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			case remote.ConnPool:
				if conns != want {
					t.Errorf("got %T, want the pool that was given", conns)
				}
			case string:
				if got := fmt.Sprintf("%T", conns); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			if d, ok := o.RemoteOpt.Dialer.(*dialer); !ok || d.settings.group != g {
				t.Errorf("dialer: got %T", o.RemoteOpt.Dialer)
			}
		})
	}
}

// plainDialer is a user's dialer.
type plainDialer struct{ remote.Dialer }

type plainHandlers struct {
	remote.ClientTransHandlerFactory
}

// Options given after the suite win over it.
func TestClientSuiteOrder(t *testing.T) {
	g := newTestGroup(t)
	suite := client.WithSuite(NewClientSuite(WithGroup(g)))
	d, h := &plainDialer{}, &plainHandlers{NewClientTransHandlerFactory()}
	for _, tc := range []struct {
		name string
		opts []client.Option
		ours bool
	}{
		{"suite", []client.Option{suite}, true},
		{"suite last", []client.Option{client.WithDialer(d), client.WithTransHandlerFactory(h), suite}, true},
		{"suite first", []client.Option{suite, client.WithDialer(d), client.WithTransHandlerFactory(h)}, false},
	} {
		_, o := newEcho(t, "127.0.0.1:1", tc.opts...)
		_, dials := o.RemoteOpt.Dialer.(*dialer)
		_, handles := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory)
		if dials != tc.ours || handles != tc.ours {
			t.Errorf("%s: our dialer %v, our handlers %v, want %v", tc.name, dials, handles, tc.ours)
		}
	}
}

func TestServerSuiteOrder(t *testing.T) {
	g := newTestGroup(t)
	suite := server.WithSuite(NewServerSuite(WithGroup(g), WithAcceptors(3)))
	other := NewTransServerFactory()
	apply := func(opts ...server.Option) (o server.Options) {
		o.RemoteOpt = &remote.ServerOption{}
		for _, opt := range opts {
			opt.F(&o, &utils.Slice{})
		}
		return o
	}
	o := apply(suite, suite)
	f, ok := o.RemoteOpt.TransServerFactory.(*transServerFactory)
	if !ok || f.settings.group != g || f.settings.acceptors != 3 || o.RemoteOpt.SvrHandlerFactory == nil {
		t.Errorf("got %+v, %T", o.RemoteOpt.TransServerFactory, o.RemoteOpt.SvrHandlerFactory)
	}
	set := server.Option{F: func(o *server.Options, _ *utils.Slice) { o.RemoteOpt.TransServerFactory = other }}
	if o := apply(suite, set); o.RemoteOpt.TransServerFactory != other {
		t.Error("what was given after the suite does not win")
	}
}

func TestSuiteNames(t *testing.T) {
	if got := fmt.Sprint(NewServerSuite(), NewClientSuite(WithPool(pool.Config{}))); got != "kiteline kiteline" {
		t.Errorf("got %q", got)
	}
}

// TestSuitesTogether calls over each kind of client connection, with and without TTHeader.
func TestSuitesTogether(t *testing.T) {
	g := newTestGroup(t)
	address := startEcho(t, g)
	for name, opt := range map[string]client.Option{
		"pooled": client.WithConnectTimeout(patience),
		"long":   client.WithLongConnection(connpool.IdleConfig{MaxIdlePerAddress: 1, MaxIdleTimeout: time.Minute}),
		"short":  client.WithShortConnection(),
	} {
		for _, p := range []transport.Protocol{transport.PurePayload, transport.Framed, transport.TTHeader, transport.TTHeaderFramed} {
			t.Run(fmt.Sprint(name, " ", p), func(t *testing.T) {
				c, o := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(g))), opt, client.WithTransportProtocol(p))
				for _, size := range []int{0, 100, 100_000} {
					want := payload(size).Payload
					got, err := c.EchoPayload(context.Background(), want)
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Fatalf("%d bytes: got %v", size, err)
					}
				}
				if conns, ok := o.RemoteOpt.ConnPool.(*pool.Pool); ok && conns.Stats().Dials != 1 {
					t.Errorf("got %d dials, want 1", conns.Stats().Dials)
				}
			})
		}
	}
}

// A user's dialer that returns plain connections makes calls fail, and nothing else.
func TestClientWithForeignDialer(t *testing.T) {
	t.Parallel()
	g := newTestGroup(t)
	address := startEcho(t, g)
	d := remote.SynthesizedDialer{DialFunc: net.DialTimeout}
	c, _ := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(g))), client.WithDialer(d))
	if got, err := c.Repeat(context.Background(), "x", 1, ""); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestDialer(t *testing.T) {
	g := newTestGroup(t)
	c, _ := newTestPair(t, g, WithWriteTimeout(time.Second))
	if c.RemoteAddr().Network() != "tcp" || !c.IsActive() {
		t.Errorf("got %v, active %v", c.RemoteAddr(), c.IsActive())
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	nc, err := NewDialer(WithGroup(g)).DialTimeout("tcp", ln.Addr().String(), patience)
	if nc != nil || err == nil {
		t.Errorf("nobody listens: got %v, %v", nc, err)
	}
	if _, ok := err.(*net.OpError); !ok {
		t.Errorf("got %T, want *net.OpError", err)
	}
}
