package mux

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// finishes counts the calls that Kitex reports to a tracer.
type finishes struct{ started, finished atomic.Int64 }

// Start implements stats.Tracer.
func (f *finishes) Start(ctx context.Context) context.Context { f.started.Add(1); return ctx }

// Finish implements stats.Tracer.
func (f *finishes) Finish(context.Context) { f.finished.Add(1) }

// gate is a handler that holds all its calls except the first until it is opened.
type gate struct {
	entered atomic.Int64
	opened  chan struct{}
}

func (g *gate) echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	if g.entered.Add(1) > 1 {
		<-g.opened
	}
	return &echo.EchoResponse{Message: r.Message}, nil
}

// Connections that are reset fail the calls that they have in flight: all of them at once, each
// once, with the error that Kitex takes for a lost connection. None is made again, because the
// server has seen it. The next call finds a new connection.
func TestResetWithCallsInFlight(t *testing.T) {
	const calls, atOnce = 1000, 50 * time.Millisecond
	for _, timeout := range []time.Duration{0, testkit.Patience * 2} {
		t.Run(fmt.Sprintf("timeout %v", timeout), func(t *testing.T) {
			g := &gate{opened: make(chan struct{})}
			s := harness.Echo(t, harness.Kiteline, &harness.Service{OnEcho: g.echo})
			open := sync.OnceFunc(func() { close(g.opened) })
			t.Cleanup(open) // before the server stops, which waits for its handlers
			proxy := harness.NewProxy(t, s.Addr)
			traced := new(finishes)
			opts := []client.Option{client.WithTracer(traced)}
			if timeout > 0 {
				opts = append(opts, client.WithRPCTimeout(timeout))
			}
			cli, conns := newClient(t, proxy.Addr, pool.MuxConfig{}, opts...)
			// The client learns that the server multiplexes.
			if err := callText(cli, "first"); err != nil {
				t.Fatal(err)
			}
			errs := make([]error, calls)
			var wg sync.WaitGroup
			for n := range calls {
				wg.Go(func() { errs[n] = callText(cli, fmt.Sprint(n)) })
			}
			testkit.Settles(t, "calls in handlers", g.entered.Load, calls+1)
			t.Logf("%+v", conns.Stats())
			watch := harness.StartStopwatch()
			proxy.Reset()
			wg.Wait()
			slowest := watch.Elapsed()
			for n, err := range errs {
				if !isLostConnection(err) {
					t.Errorf("call %d: got %v, want a lost connection", n, err)
					break
				}
			}
			t.Logf("%d calls ended within %v, and %v without a processor", calls, slowest, watch.Kept())
			if slowest > atOnce*testkit.Slowdown {
				t.Errorf("the last call ended %v after the reset, want %v at most", slowest, atOnce*testkit.Slowdown)
			}
			open()
			if err := callText(cli, "next"); err != nil {
				t.Errorf("the next call: %v", err)
			}
			if got := g.entered.Load(); got != calls+2 {
				t.Errorf("the server has handled %d calls, want %d", got, calls+2)
			}
			if started, finished := traced.started.Load(), traced.finished.Load(); started != calls+2 || finished != calls+2 {
				t.Errorf("a tracer saw %d calls start and %d finish, want %d", started, finished, calls+2)
			}
		})
	}
}

// isLostConnection reports whether Kitex takes err for a connection that the peer has ended.
func isLostConnection(err error) bool {
	return errors.Is(err, kerrors.ErrRemoteOrNetwork) && errors.Is(err, netpoll.ErrConnClosed) &&
		!errors.Is(err, kerrors.ErrGetConnection) && !errors.Is(err, kerrors.ErrRPCTimeout)
}
