package transport

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/retry"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/pool"
)

// besideBackup has Kitex make a backup request at once beside calls of some methods.
func besideBackup() client.Option {
	policy := retry.BuildBackupRequest(retry.NewBackupPolicy(1))
	return client.WithRetryMethodPolicies(map[string]retry.Policy{"Find": policy, "EchoPayload": policy})
}

// TestNotSentBesideBackup: a call ends before anything of it is sent, while Kitex's backup request
// beside it is on its way. Such a call does not count as not sent.
func TestNotSentBesideBackup(t *testing.T) {
	for suite, of := range map[string]func(...ClientOption) client.Suite{"pooled": NewClientSuite, "shared": NewMuxClientSuite} {
		t.Run(suite, func(t *testing.T) {
			arrived, over := make(chan struct{}, 1000), make(chan struct{})
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			attempts := make(chan int, 2)
			attempts <- 1
			attempts <- 2
			c, _ := newEcho(t, silent(t, func() { arrived <- struct{}{} }), client.WithSuite(of(WithGroup(newTestGroup(t)))),
				client.WithRPCTimeout(patience), besideBackup(), replacing(func(ctx context.Context, next func() error) error {
					if <-attempts == 2 {
						err := next()
						<-over // so the caller gets the first one's error
						return err
					}
					<-arrived
					cancel()
					return ctx.Err()
				}))
			_, err := c.EchoPayload(ctx, &echo.Payload{})
			close(over)
			var ended *CallError
			if !errors.As(err, &ended) || ended.Phase != PhasePrepare {
				t.Fatalf("got %v, want the first attempt's error", err)
			}
			if ended.NotSent() || !strings.Contains(err.Error(), "may have been sent before") {
				t.Errorf("the peer has it: not sent %v, %v", ended.NotSent(), err)
			}
		})
	}
}

// TestAttemptOfSeveral has an attempt fail for lack of a place while another attempt at the same
// call is in its handler. The caller's error does not say that it is safe to make the call again.
func TestAttemptOfSeveral(t *testing.T) {
	inHandler := func(s *heldService, next func() error) error {
		go func() { _ = next() }() // ends with the handler
		<-s.began
		return errOwn
	}
	again := func(s *heldService, n int, next func() error) error {
		if n == 1 {
			return inHandler(s, next)
		}
		return next()
	}
	byMiddleware := func(s *heldService, _ int, next func() error) error {
		_ = inHandler(s, next)
		return next()
	}
	beside := func(s *heldService, n int, next func() error) error {
		if n == 1 {
			<-s.began
		}
		return next()
	}
	cases := map[string]struct {
		suite   []ClientOption
		opts    []client.Option
		attempt func(s *heldService, n int, next func() error) error
	}{
		"Kitex tries again":                             {nil, []client.Option{anyError(), client.WithRPCTimeout(patience)}, again},
		"Kitex tries again, without a timeout":          {nil, []client.Option{anyError()}, again},
		"Kitex tries again, Kitex's timeouts":           {[]ClientOption{WithKitexTimeouts()}, []client.Option{anyError(), client.WithRPCTimeout(patience)}, again},
		"a backup request beside it":                    {nil, []client.Option{besideBackup(), client.WithRPCTimeout(patience)}, beside},
		"a backup request beside it, without a timeout": {nil, []client.Option{besideBackup()}, beside},
		"a backup request beside it, Kitex's timeouts": {
			[]ClientOption{WithKitexTimeouts()}, []client.Option{besideBackup(), client.WithRPCTimeout(patience)}, beside,
		},
		"a middleware tries again":                    {nil, []client.Option{client.WithRPCTimeout(patience)}, byMiddleware},
		"a middleware tries again, without a timeout": {nil, nil, byMiddleware},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			captureLogs(t)
			service := newHeldService()
			svc := startService(t, newTestGroup(t), service)
			t.Cleanup(service.letGo)
			suite := NewMuxClientSuite(append(tc.suite, WithGroup(newTestGroup(t)),
				WithMux(pool.MuxConfig{MaxConns: 1, MaxInFlight: 1, Overload: mux.FailFast}))...)
			attempts := make(chan int, 2)
			c, o := newEcho(t, svc.address, append([]client.Option{client.WithSuite(suite),
				replacing(func(_ context.Context, next func() error) error {
					select {
					case n := <-attempts:
						return tc.attempt(service, n, next)
					default:
						return next()
					}
				})}, tc.opts...)...)
			keep(t, c)
			share(t, c, o.RemoteOpt.ConnPool.(*pool.Mux))
			attempts <- 1
			attempts <- 2
			_, err := c.Find(context.Background(), "x")
			var failed *mux.Error
			switch {
			case !errors.Is(err, mux.ErrOverloaded) || !errors.As(err, &failed):
				t.Errorf("got %v, want mux.ErrOverloaded", err)
			case failed.NotSent() || strings.Contains(err.Error(), "safe to retry"):
				t.Errorf("the peer has the other attempt: not sent %v, %v", failed.NotSent(), err)
			}
		})
	}
}

// TestAttempts: a call counts as not sent only if every attempt that began has failed unsent.
func TestAttempts(t *testing.T) {
	of := func(tag string) rpcinfo.RPCInfo {
		tags := map[string]string{}
		if tag != "" {
			tags[rpcinfo.RetryTag] = tag
		}
		return rpcinfo.NewRPCInfo(nil, rpcinfo.NewEndpointInfo("echo", "Repeat", nil, tags), nil, nil, nil)
	}
	var a attempts
	ctx, other := retry.PrepareRetryContext(context.Background()), retry.PrepareRetryContext(context.Background())
	unsent := func(attempt int) bool { return a.areOthersUnsent(sameCall(ctx), attempt) }
	steps := []struct {
		step string
		do   func()
		want [3]bool // for the first, second and third attempt
	}{
		{"nothing", func() {}, [3]bool{true, false, false}},
		{"the first begins", func() { a.begin(ctx, of("")) }, [3]bool{true, false, false}},
		{"another call has two", func() { a.begin(other, of("1")); a.failUnsent(other, of("1")) }, [3]bool{true, false, false}},
		{"the second begins", func() { a.begin(ctx, of("1")) }, [3]bool{false, false, false}},
		{"the first fails unsent", func() { a.failUnsent(ctx, of("")) }, [3]bool{false, true, false}},
		{"the second fails unsent", func() { a.failUnsent(ctx, of("1")) }, [3]bool{true, true, true}},
		{"the third begins", func() { a.begin(ctx, of("2")) }, [3]bool{false, false, true}},
		{"an unknown one begins", func() { a.begin(ctx, of("many")) }, [3]bool{false, false, false}},
	}
	for _, s := range steps {
		s.do()
		if got := [3]bool{unsent(0), unsent(1), unsent(2)}; got != s.want {
			t.Errorf("%s: got %v, want %v", s.step, got, s.want)
		}
	}
	if a.areOthersUnsent(nil, 1) || !a.areOthersUnsent(nil, 0) || a.areOthersUnsent(sameCall(ctx), attemptOf(of("many"))) {
		t.Error("what is not known counts as unsent")
	}
	runtime.KeepAlive(ctx)
	runtime.KeepAlive(other)
	eventually(t, "the contexts' end", func() bool { // entries go with their contexts
		runtime.GC()
		known := 0
		a.calls.Range(func(any, any) bool { known++; return true })
		return known == 0
	})
}
