package transport

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/rpctimeout"
	"github.com/cloudwego/kitex/pkg/utils"
)

// whenBuilt has f change o when Kitex builds the middlewares of a client: after all options and, if
// it is given after a suite, after what the suite does then.
func whenBuilt(f func(o *client.Options)) client.Option {
	return client.TailOption(client.Option{F: func(o *client.Options, _ *utils.Slice) {
		o.MWBs = append(o.MWBs, func(context.Context) endpoint.Middleware {
			f(o)
			return nil
		})
	}})
}

// extraBuilder adds d to each timeout, as rpctimeout.MiddlewareBuilder does among the middlewares
// next to the transport, which Kitex builds after all others.
func extraBuilder(d time.Duration) func(o *client.Options) {
	return func(o *client.Options) { o.IMWBs = append(o.IMWBs, rpctimeout.MiddlewareBuilder(d)) }
}

// TestExtraTimeout: an addition to a client's timeouts counts once, wherever it was given. If the
// suite cannot hide that there is a timeout, Kitex keeps it and the log says so.
func TestExtraTimeout(t *testing.T) {
	g := newTestGroup(t)
	address := startEcho(t, g)
	now := func(f func(o *client.Options)) client.Option {
		return client.Option{F: func(o *client.Options, _ *utils.Slice) { f(o) }}
	}
	suite := client.WithSuite(NewClientSuite(WithGroup(g)))
	for name, tc := range map[string]struct {
		opts []client.Option
		ours bool
	}{
		"option":                               {[]client.Option{extra(time.Hour), suite}, true},
		"option after the suite":               {[]client.Option{suite, extra(time.Hour)}, true},
		"builder":                              {[]client.Option{client.WithMiddlewareBuilder(rpctimeout.MiddlewareBuilder(time.Hour)), suite}, true},
		"builder after the suite":              {[]client.Option{suite, client.WithMiddlewareBuilder(rpctimeout.MiddlewareBuilder(time.Hour))}, true},
		"builder after the suite's":            {[]client.Option{suite, whenBuilt(func(o *client.Options) { o.ExtraTimeout = time.Hour })}, true},
		"inner builder":                        {[]client.Option{suite, now(extraBuilder(time.Hour))}, true},
		"inner builder after the suite's last": {[]client.Option{suite, whenBuilt(extraBuilder(time.Hour))}, false},
	} {
		t.Run(name, func(t *testing.T) {
			log := captureLogs(t)
			var kitexs atomic.Bool
			var left time.Duration
			c, _ := newEcho(t, address, append(tc.opts, client.WithRPCTimeout(time.Hour), inKitexGoroutine(&kitexs),
				replacing(func(ctx context.Context, next func() error) error {
					deadline, _ := ctx.Deadline()
					left = time.Until(deadline)
					return next()
				}))...)
			for range 2 {
				if _, err := c.Repeat(t.Context(), "x", 1, ""); err != nil {
					t.Fatal(err)
				}
			}
			if left < 119*time.Minute || left > 2*time.Hour {
				t.Errorf("a call with an hour, and an hour more, has %v", left)
			}
			if kitexs.Load() == tc.ours {
				t.Errorf("in Kitex's goroutine: %v", kitexs.Load())
			}
			want := 1
			if tc.ours {
				want = 0
			}
			if got := log.lines("ExtraTimeout"); got != want {
				t.Errorf("%d warnings, want %d", got, want)
			}
		})
	}
}

// TestLateRouter: if something has taken the place of the suite's middleware for timeouts, a call
// still ends in time and the log says what is wrong.
func TestLateRouter(t *testing.T) {
	log := captureLogs(t)
	address := silent(t, func() {})
	c, _ := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t)))), client.WithRPCTimeout(soon),
		whenBuilt(func(o *client.Options) {
			o.XDSRouterMiddleware = func(next endpoint.Endpoint) endpoint.Endpoint { return next }
		}))
	for range 2 {
		ended := make(chan error, 1)
		go func() {
			_, err := c.Repeat(context.Background(), "x", 1, "")
			ended <- err
		}()
		err := receive(t, "the end of a call of 60 ms", ended)
		if !errors.Is(err, kerrors.ErrRPCTimeout) || !strings.Contains(err.Error(), "timeout=60ms") {
			t.Errorf("got %v", err)
		}
	}
	if got := log.lines("its middleware for timeouts"); got != 1 {
		t.Errorf("%d warnings, want 1", got)
	}
}
