package behaviour

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/proxy"
	"github.com/cloudwego/kitex/pkg/remote"
	kpool "github.com/cloudwego/kitex/pkg/remote/connpool"
	knetpoll "github.com/cloudwego/kitex/pkg/remote/trans/netpoll"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/rpcinfo/remoteinfo"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// countingDialer is a user's dialer on top of another.
type countingDialer struct {
	remote.Dialer
	dials atomic.Int64
}

// DialTimeout implements remote.Dialer.
func (d *countingDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	d.dials.Add(1)
	return d.Dialer.DialTimeout(network, address, timeout)
}

// countingPool is a user's pool on top of another.
type countingPool struct {
	remote.ConnPool
	gets atomic.Int64
}

// Get implements remote.ConnPool.
func (p *countingPool) Get(ctx context.Context, network, address string, opt remote.ConnOption) (net.Conn, error) {
	p.gets.Add(1)
	return p.ConnPool.Get(ctx, network, address, opt)
}

// An option that a user gives after the client suite wins over it, even a dialer whose connections
// are netpoll's.
func TestOptionsAfterClientSuiteWin(t *testing.T) {
	s := serveEcho(t, harness.Kiteline, new(harness.Service))
	for name, inner := range map[string]remote.Dialer{"kiteline": kiteline.NewDialer(), "netpoll": knetpoll.NewDialer()} {
		t.Run("WithDialer "+name, func(t *testing.T) {
			d := &countingDialer{Dialer: inner}
			cli := harness.EchoClient(t, harness.Kiteline, s.Addr, client.WithDialer(d))
			callTwice(t, cli)
			if got := d.dials.Load(); got != 1 {
				t.Errorf("dials: got %v, want 1", got)
			}
		})
	}
	t.Run("WithConnPool", func(t *testing.T) {
		p := &countingPool{ConnPool: kpool.NewShortPool("echo")}
		callTwice(t, harness.EchoClient(t, harness.Kiteline, s.Addr, client.WithConnPool(p)))
		if got := p.gets.Load(); got != 2 {
			t.Errorf("Get: got %v calls, want 2", got)
		}
	})
	t.Run("WithTransHandlerFactory", func(t *testing.T) {
		f := &countingHandlerFactory{}
		callTwice(t, harness.EchoClient(t, harness.Kiteline, s.Addr, client.WithTransHandlerFactory(f)))
		if got := f.made.Load(); got == 0 {
			t.Errorf("handlers made: got %v, want some", got)
		}
	})
}

// countingHandlerFactory makes Kitex's own handlers, which must work on our connections.
type countingHandlerFactory struct{ made atomic.Int64 }

// NewTransHandler implements remote.ClientTransHandlerFactory.
func (f *countingHandlerFactory) NewTransHandler(opt *remote.ClientOption) (remote.ClientTransHandler, error) {
	f.made.Add(1)
	return knetpoll.NewCliTransHandlerFactory().NewTransHandler(opt)
}

func callTwice(t *testing.T, cli echoClient) {
	t.Helper()
	for n := range 2 {
		if err := harness.CallEcho(context.Background(), cli, n); err != nil {
			t.Error(err)
		}
	}
}

// A suite may be given twice, by a template and by hand. Kitex's own options for the same fields
// panic then, depending on whether the compiler inlined them; run with -gcflags=all=-l as well.
func TestSuiteTwice(t *testing.T) {
	s := serveEcho(t, harness.Kiteline, new(harness.Service), server.WithSuite(kiteline.NewServerSuite()))
	cli := harness.EchoClient(t, harness.Kiteline, s.Addr, client.WithSuite(kiteline.NewClientSuite()))
	callTwice(t, cli)
}

// The parts of the suites also work through Kitex's own options.
func TestPartsWithoutSuites(t *testing.T) {
	s := harness.Start(t, harness.ServerConfig{
		QuickStop: true,
		Transport: harness.Netpoll, Addr: harness.Refused(t), New: harness.NewEcho(new(harness.Service)),
		Options: []server.Option{server.WithTransServerFactory(kiteline.NewTransServerFactory())},
	})
	cli := harness.CustomClient(t, echoservice.NewClient,
		client.WithHostPorts(s.Addr.String()),
		client.WithDialer(kiteline.NewDialer()),
		client.WithTransHandlerFactory(kiteline.NewClientTransHandlerFactory()),
		client.WithConnPool(pool.New("echo", pool.Config{})))
	callTwice(t, cli)
}

// fixedProxy is a proxy.ForwardProxy that sends every call to one address.
type fixedProxy struct {
	to         discovery.Instance
	configured proxy.Config
}

// Configure implements proxy.ForwardProxy.
func (p *fixedProxy) Configure(cfg *proxy.Config) error {
	p.configured = *cfg
	return nil
}

// ResolveProxyInstance implements proxy.ForwardProxy.
func (p *fixedProxy) ResolveProxyInstance(ctx context.Context) error {
	remoteinfo.AsRemoteInfo(rpcinfo.GetRPCInfo(ctx).To()).SetInstance(p.to)
	return nil
}

// WithProxy gets the client's pool to configure, and says where calls go.
func TestClientProxy(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			s := serveEcho(t, tr, new(harness.Service))
			p := &fixedProxy{to: discovery.NewInstance(s.Addr.Network(), s.Addr.String(), 1, nil)}
			callTwice(t, harness.EchoClient(t, tr, nil, client.WithProxy(p)))
			if p.configured.Pool == nil {
				t.Error("the pool given to Configure: got nil")
			}
		})
	}
}

// Kitex keeps one rpcinfo per server connection, or makes one for each request when
// KITEX_DISABLE_RPCINFO_POOL says so; calls work both ways.
func TestRPCInfoPool(t *testing.T) {
	defer rpcinfo.EnablePool(rpcinfo.PoolEnabled())
	for _, enabled := range []bool{true, false} {
		rpcinfo.EnablePool(enabled)
		for _, tr := range harness.Both {
			s := serveEcho(t, tr, new(harness.Service))
			cli := harness.EchoClient(t, tr, s.Addr)
			for n := range 200 {
				if err := harness.CallAny(context.Background(), cli, n); err != nil {
					t.Fatalf("%v, pool enabled: %v: %v", tr, enabled, err)
				}
			}
		}
	}
}
