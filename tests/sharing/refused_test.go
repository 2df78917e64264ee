package sharing

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/retry"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// A call that a limit of the client refuses is made once, fills no log, and opens no circuit
// breaker.
func TestRefusedByFailFast(t *testing.T) {
	const refused = 1000
	for name, opts := range map[string][]client.Option{
		"no policy":                 nil,
		"Kitex's policy of retries": {client.WithFailureRetry(retry.NewFailurePolicy())},
	} {
		t.Run(name, func(t *testing.T) {
			logs, began := harness.NewLogs(t), time.Now()
			g := newGate()
			var attempts atomic.Int64
			breakers := circuitbreak.NewCBSuite(func(rpcinfo.RPCInfo) string { return "key" })
			c := newCaller(t, shared, startAt(t, g, nil).Addr,
				pool.MuxConfig{MaxConns: 1, MaxInFlight: 1, Overload: mux.FailFast},
				append(opts, client.WithCircuitBreaker(breakers), client.WithInstanceMW(countInto(&attempts)))...)
			if err := c.call(); err != nil {
				t.Fatal(err)
			}
			held := start(1, func(int) error { return c.echo(context.Background(), "held", nil) })
			g.awaits(t, 1)
			attempts.Store(0)
			for range refused {
				if err := c.call(); !errors.Is(err, mux.ErrOverloaded) {
					t.Fatalf("got %v, want ErrOverloaded", err)
				}
			}
			if n := attempts.Load(); n != refused {
				t.Errorf("got %d attempts, want %d", n, refused)
			}
			if lines, most := len(logs.Matching("")), 2*int(time.Since(began)/time.Second+1); lines > most {
				t.Errorf("got %d lines in the log, want %d at most", lines, most)
			}
			g.open()
			held.end(t, "the call that had the place")
			if err := c.call(); err != nil {
				t.Errorf("a call when there is room again: %v", err)
			}
		})
	}
}

// countInto counts the calls that reach an instance.
func countInto(n *atomic.Int64) endpoint.Middleware {
	return func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, req, resp any) error {
			n.Add(1)
			return next(ctx, req, resp)
		}
	}
}
