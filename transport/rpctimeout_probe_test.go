package transport

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/transport/pool"
)

// TestTimeoutWays checks what a keeper makes of a middleware for timeouts: Kitex's, and possible
// later ones.
func TestTimeoutWays(t *testing.T) {
	limit := func(ctx context.Context, extra time.Duration, next endpoint.Endpoint, request any) error {
		timeout := rpcinfo.GetRPCInfo(ctx).Config().RPCTimeout() + extra
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return next(ctx, request, nil)
	}
	for name, tc := range map[string]struct {
		middleware func(ctx context.Context, next endpoint.Endpoint, request any) error
		want       timeoutWay
		log        string
	}{
		"lets all pass": {func(ctx context.Context, next endpoint.Endpoint, request any) error {
			return next(ctx, request, nil)
		}, wayOurs, ""},
		"limits what may end": {func(ctx context.Context, next endpoint.Endpoint, request any) error {
			if ctx.Done() == nil {
				return next(ctx, request, nil)
			}
			return limit(ctx, 0, next, request)
		}, wayOurs, ""},
		"limits all": {func(ctx context.Context, next endpoint.Endpoint, request any) error {
			return limit(ctx, 2*time.Second, next, request)
		}, wayKitexs, "a timeout gets 2s more"},
		"limits on a goroutine": {func(ctx context.Context, next endpoint.Endpoint, request any) error {
			done := make(chan error)
			go func() { done <- limit(ctx, -time.Minute, next, request) }()
			return <-done
		}, wayKitexs, "a timeout gets -1m0s more"},
		"has a context of its own": {func(ctx context.Context, next endpoint.Endpoint, request any) error {
			return next(context.WithValue(ctx, pool.TimedCallKey{}, "other"), request, nil)
		}, wayLate, "not as it was"},
		"panics": {func(context.Context, endpoint.Endpoint, any) error { panic("boom") }, wayLate, "not as it was"},
		"never calls": {func(context.Context, endpoint.Endpoint, any) error {
			return nil
		}, wayLate, "not as it was"},
	} {
		t.Run(name, func(t *testing.T) {
			log := captureLogs(t)
			k := &timeoutKeeper{service: "echo", open: make(chan struct{})}
			inner := k.unseal(func(context.Context, any, any) error {
				t.Error("a probe went on")
				return nil
			})
			k.begin(func(ctx context.Context, request, _ any) error {
				return tc.middleware(ctx, endpoint.Endpoint(inner), request)
			})
			if k.way != tc.want {
				t.Errorf("got %v, want %v", k.way, tc.want)
			}
			if logged := log.lines("KITELINE: client of echo:") == 1; logged != (tc.log != "") || log.lines(tc.log) == 0 && logged {
				t.Errorf("logged %q, want %q", &log.buf, tc.log)
			}
		})
	}
}

// TestProbeStaysInside: no middleware sees the call that probes Kitex, and it is sent once.
func TestProbeStaysInside(t *testing.T) {
	calls := 0
	unary := func(next endpoint.UnaryEndpoint) endpoint.UnaryEndpoint {
		return func(ctx context.Context, request, response any) error {
			calls++
			return next(ctx, request, response)
		}
	}
	_, o := newEcho(t, "127.0.0.1:1", client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t)))),
		client.WithUnaryOptions(client.WithUnaryMiddleware(unary)),
		client.WithMiddleware(func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, request, response any) error {
				calls++
				return next(ctx, request, response)
			}
		}))
	if calls != 0 {
		t.Errorf("the middlewares have seen %d calls", calls)
	}
	if k := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory).keeper; k.way != wayOurs {
		t.Errorf("got the way %v", k.way)
	}
}

// TestOverrun: a call that user code holds up past its deadline is logged. One that comes back late
// because the transport's wait ended late is not.
func TestOverrun(t *testing.T) {
	const timeout = 100 * time.Millisecond
	most := timeout + overrunGrace + timeout/10
	for name, tc := range map[string]struct {
		back, now time.Duration // since the start
		logged    bool
	}{
		"in time":                      {timeout / 2, timeout / 2, false},
		"within the grace":             {0, most, false},
		"after the grace":              {0, most + 1, true},
		"after it, failed before":      {timeout / 2, most + 1, true},
		"the transport was late":       {time.Hour, time.Hour + most - timeout, false},
		"both were":                    {time.Hour, time.Hour + most - timeout + 1, true},
		"the transport was just late":  {most + time.Millisecond, most + 2*time.Millisecond, false},
		"a moment after the transport": {timeout, most, false},
	} {
		t.Run(name, func(t *testing.T) {
			log := captureLogs(t)
			k := &timeoutKeeper{service: "echo"}
			c := begun(context.Background(), t, timeout, 0)
			c.keeper = k
			if tc.back > 0 {
				c.failed = c.start.Add(tc.back)
			}
			c.noteOverrun(c.start.Add(tc.now))
			if got := log.lines("WithKitexTimeouts") > 0; got != tc.logged {
				t.Errorf("logged: %v, want %v", got, tc.logged)
			}
		})
	}
}

// TestBlockingMiddlewareIsLogged: the log names a client whose middleware blocks past a deadline.
func TestBlockingMiddlewareIsLogged(t *testing.T) {
	log := captureLogs(t)
	c, _ := newEcho(t, "127.0.0.1:1", client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t)))), client.WithRPCTimeout(time.Millisecond),
		replacing(func(ctx context.Context, _ func() error) error {
			<-ctx.Done()
			<-time.After(2*overrunGrace + time.Millisecond)
			return nil
		}))
	_, err := c.Repeat(context.Background(), "x", 1, "")
	if err == nil || !strings.Contains(err.Error(), "phase=prepare") {
		t.Errorf("got %v", err)
	}
	if log.lines("service=echo, method=Repeat, phase=prepare") != 1 || log.lines("WithKitexTimeouts") != 1 {
		t.Errorf("logged %q", &log.buf)
	}
}
