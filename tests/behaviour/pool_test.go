package behaviour

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote/connpool"
	"github.com/cloudwego/kitex/pkg/warmup"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// reports counts what a pool reports, by address and event.
type reports struct {
	mu     sync.Mutex
	counts map[string]int // guarded by mu
}

var _ connpool.Reporter = (*reports)(nil)

// poolReports is Kitex's reporter of connection pools. A process has one, and sets it once.
var poolReports = sync.OnceValue(func() *reports {
	r := &reports{counts: make(map[string]int)}
	connpool.SetReporter(r)
	return r
})

func (r *reports) add(event string, addr net.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[addr.String()+" "+event]++
}

func (r *reports) get(event string, addr net.Addr) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[addr.String()+" "+event]
}

// ConnSucceed implements connpool.Reporter.
func (r *reports) ConnSucceed(_ connpool.ConnectionPoolType, _ string, addr net.Addr) {
	r.add("dialed", addr)
}

// ConnFailed implements connpool.Reporter.
func (r *reports) ConnFailed(_ connpool.ConnectionPoolType, _ string, addr net.Addr) {
	r.add("failed", addr)
}

// ReuseSucceed implements connpool.Reporter.
func (r *reports) ReuseSucceed(_ connpool.ConnectionPoolType, _ string, addr net.Addr) {
	r.add("reused", addr)
}

// WithConnReporterEnabled reports dials, failed dials and reuses (connpool/reporter.go).
func TestConnReporter(t *testing.T) {
	const calls = 5
	r := poolReports()
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			s := serveEcho(t, tr, new(harness.Service))
			refused := harness.Refused(t)
			for _, enabled := range []bool{true, false} {
				opts := []client.Option{}
				if enabled {
					opts = append(opts, client.WithConnReporterEnabled())
				}
				cli := harness.EchoClient(t, tr, s.Addr, opts...)
				for n := range calls {
					if err := harness.CallEcho(context.Background(), cli, n); err != nil {
						t.Fatal(err)
					}
				}
				if err := harness.CallEcho(context.Background(), harness.EchoClient(t, tr, refused, opts...), 0); err == nil {
					t.Error("refused: got no error")
				}
			}
			if got := r.get("dialed", s.Addr); got != 1 {
				t.Errorf("dialed: got %v, want 1", got)
			}
			if got := r.get("reused", s.Addr); got != calls-1 {
				t.Errorf("reused: got %v, want %v", got, calls-1)
			}
			// Kitex tries a failed dial again on the next instance, which is the same here.
			if got := r.get("failed", refused); got == 0 {
				t.Errorf("failed: got %v, want more", got)
			}
		})
	}
}

// WithWarmingUp opens connections before the first call, which then uses one of them; with FailFast
// a failed dial fails NewClient (client/client.go, warmingUp).
func TestWarmingUp(t *testing.T) {
	const connections = 3
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			s := serveEcho(t, tr, new(harness.Service))
			before := s.Connections.Accepted()
			cli := harness.EchoClient(t, tr, s.Addr, warmUp(s.Addr, connections))
			if tr != harness.Kiteline {
				// Kitex's helper puts connections back while others are still opened, and reuses
				// them.
				testkit.Eventually(t, "warm-up opens connections", func() bool { return s.Connections.Accepted() > before })
				return
			}
			testkit.Settles(t, "connections after warm-up", s.Connections.Accepted, before+connections)
			for n := range 2 * connections {
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Error(err)
				}
			}
			if got := s.Connections.Accepted(); got != before+connections {
				t.Errorf("connections after calls: got %v, want %v", got, before+connections)
			}
		})
	}
}

func warmUp(addr net.Addr, connections int) client.Option {
	return client.WithWarmingUp(&warmup.ClientOption{
		ErrorHandling: warmup.FailFast,
		PoolOption: &warmup.PoolOption{
			Targets:  map[string][]string{addr.Network(): {addr.String()}},
			ConnNum:  connections,
			Parallel: 2,
		},
	})
}

// A pool of long connections uses one connection for calls one after another, a pool of short ones
// as many as calls, and simultaneous callers get one each, as with Kitex's own pools.
func TestConnectionsPerCall(t *testing.T) {
	const calls = 6
	tests := []struct {
		name   string
		option client.Option
		want   int
	}{
		{"default", client.WithTag("no", "option"), 1},
		{"WithLongConnection", client.WithLongConnection(harness.LongConnections), 1},
		{"WithShortConnection", client.WithShortConnection(), calls},
	}
	for _, tc := range tests {
		for _, tr := range harness.Both {
			t.Run(fmt.Sprintf("%s, %v", tc.name, tr), func(t *testing.T) {
				s := serveEcho(t, tr, new(harness.Service))
				before := s.Connections.Accepted()
				cli := harness.EchoClient(t, tr, s.Addr, tc.option)
				for n := range calls {
					if err := harness.CallEcho(context.Background(), cli, n); err != nil {
						t.Fatal(err)
					}
				}
				if got := s.Connections.Accepted() - before; got != tc.want {
					t.Errorf("connections: got %v, want %v", got, tc.want)
				}
			})
		}
	}
}
