package behaviour

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/loadbalance"
	"github.com/cloudwego/kitex/pkg/loadbalance/lbcache"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// A call that gets no connection goes to the next instance (client/middlewares.go,
// newResolveMWBuilder), so no call fails while one of two is gone.
func TestRetryOnNextInstance(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			s := serveEcho(t, tr, new(harness.Service))
			cli := harness.EchoClient(t, tr, nil, client.WithHostPorts(harness.Refused(t).String(), s.Addr.String()))
			for n := range 50 {
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// An instance's circuit breaker counts only kerrors.ErrGetConnection (circuitbreak/default.go,
// ErrorTypeOnInstanceLevel), and opens on refused dials.
func TestCircuitBreaker(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			suite := circuitbreak.NewCBSuite(func(ri rpcinfo.RPCInfo) string { return ri.To().ServiceName() })
			suite.UpdateInstanceCBConfig(circuitbreak.CBConfig{Enable: true, ErrRate: 0.5, MinSample: 4})
			t.Cleanup(func() { _ = suite.Close() })
			cli := harness.EchoClient(t, tr, harness.Refused(t), client.WithCircuitBreaker(suite))
			testkit.Eventually(t, "the circuit breaker opens", func() bool {
				err := harness.CallEcho(context.Background(), cli, 0)
				return errors.Is(err, kerrors.ErrCircuitBreak)
			})
		})
	}
}

// instances is a discovery.Resolver whose result changes.
type instances struct {
	name string

	mu    sync.Mutex
	addrs []net.Addr // guarded by mu
}

func (r *instances) set(addrs ...net.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = addrs
}

// Target implements discovery.Resolver.
func (r *instances) Target(context.Context, rpcinfo.EndpointInfo) string { return r.name }

// Resolve implements discovery.Resolver.
func (r *instances) Resolve(context.Context, string) (discovery.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := discovery.Result{Cacheable: true, CacheKey: r.name}
	for _, addr := range r.addrs {
		result.Instances = append(result.Instances, discovery.NewInstance(addr.Network(), addr.String(), 1, nil))
	}
	return result, nil
}

// Diff implements discovery.Resolver.
func (r *instances) Diff(key string, prev, next discovery.Result) (discovery.Change, bool) {
	return discovery.DefaultDiff(key, prev, next)
}

// Name implements discovery.Resolver.
func (r *instances) Name() string { return r.name }

// When discovery no longer has an instance, its idle connections are closed
// (client/client.go, initConnPool: LongConnPool.Clean), and those of others are kept.
func TestRemovedInstanceIsCleaned(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			stays := serveEcho(t, tr, new(harness.Service))
			goes := serveEcho(t, tr, new(harness.Service))
			resolver := &instances{name: fmt.Sprintf("%s %v", t.Name(), goes.Addr)}
			resolver.set(stays.Addr, goes.Addr)
			cli := harness.EchoClient(t, tr, nil, client.WithResolver(resolver),
				client.WithLoadBalancer(loadbalance.NewWeightedRoundRobinBalancer(),
					&lbcache.Options{RefreshInterval: 20 * time.Millisecond, Cacheable: false}))
			for n := range 10 {
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Fatal(err)
				}
			}
			if stays.Connections.Open() != 1 || goes.Connections.Open() != 1 {
				t.Fatalf("open connections: got %v and %v, want 1 each", stays.Connections.Open(), goes.Connections.Open())
			}
			resolver.set(stays.Addr)
			testkit.Settles(t, "open connections of the removed instance", goes.Connections.Open, 0)
			if err := harness.CallEcho(context.Background(), cli, 0); err != nil {
				t.Error(err)
			}
			if got := stays.Connections.Open(); got != 1 {
				t.Errorf("open connections of the other: got %v, want 1", got)
			}
		})
	}
}
