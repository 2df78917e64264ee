package transport

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/retry"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/pool"
)

// fullFixture is a client whose only place is taken by a held call, and what Kitex makes of other
// calls.
type fullFixture struct {
	*muxFixture
	held     <-chan error
	free     func() // lets the held call end
	logs     *logs
	breakers *circuitbreak.CBSuite
	attempts atomic.Int64 // at an instance
	failed   atomic.Int64 // calls that a tracer saw fail

	mu       sync.Mutex
	method   map[circuitbreak.ErrorType]int // guarded by mu: what the method's breaker was told
	instance map[circuitbreak.ErrorType]int // guarded by mu: what the instance's was
}

// Start implements stats.Tracer.
func (*fullFixture) Start(ctx context.Context) context.Context { return ctx }

// Finish implements stats.Tracer.
func (f *fullFixture) Finish(ctx context.Context) {
	if rpcinfo.GetRPCInfo(ctx).Stats().Error() != nil {
		f.failed.Add(1)
	}
}

// noting wraps kind so that its results are counted in the map that types points to.
func (f *fullFixture) noting(types *map[circuitbreak.ErrorType]int, kind circuitbreak.GetErrorTypeFunc) circuitbreak.GetErrorTypeFunc {
	return func(ctx context.Context, request, response any, err error) circuitbreak.ErrorType {
		result := kind(ctx, request, response, err)
		f.mu.Lock()
		defer f.mu.Unlock()
		(*types)[result]++
		return result
	}
}

// middleware counts attempts.
func (f *fullFixture) middleware(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, request, response any) error {
		f.attempts.Add(1)
		return next(ctx, request, response)
	}
}

// newFullFixture makes a client, and takes its only place.
func newFullFixture(t *testing.T, overload mux.Overload, suite []ClientOption, opts ...client.Option) *fullFixture {
	t.Helper()
	f := &fullFixture{logs: captureLogs(t)}
	f.breakers = circuitbreak.NewCBSuite(circuitbreak.RPCInfo2Key,
		circuitbreak.WithServiceGetErrorType(f.noting(&f.method, circuitbreak.ErrorTypeOnServiceLevel)),
		circuitbreak.WithInstanceGetErrorType(f.noting(&f.instance, circuitbreak.ErrorTypeOnInstanceLevel)))
	f.forget()
	service := newHeldService()
	svc := startService(t, newTestGroup(t), service)
	f.free = sync.OnceFunc(func() { close(service.release) })
	t.Cleanup(f.free)
	suite = append(suite, WithGroup(newTestGroup(t)), WithMux(pool.MuxConfig{MaxConns: 1, MaxInFlight: 1, Overload: overload}))
	c, o := newEcho(t, svc.address, append([]client.Option{
		client.WithSuite(NewMuxClientSuite(suite...)), client.WithTracer(f),
		client.WithCircuitBreaker(f.breakers), client.WithInstanceMW(f.middleware),
	}, opts...)...)
	keep(t, c)
	f.muxFixture = &muxFixture{client: c, pool: o.RemoteOpt.ConnPool.(*pool.Mux), service: service}
	share(t, c, f.pool)
	f.held = f.muxFixture.held(context.Background(), t)
	f.forget()
	return f
}

// forget forgets what was counted so far.
func (f *fullFixture) forget() {
	f.attempts.Store(0)
	f.failed.Store(0)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.method, f.instance = map[circuitbreak.ErrorType]int{}, map[circuitbreak.ErrorType]int{}
}

// told returns how often the breakers were told kind.
func (f *fullFixture) told(kind circuitbreak.ErrorType) (method, instance int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.method[kind], f.instance[kind]
}

// kitexLines returns how many log lines Kitex has written about calls that failed.
func (f *fullFixture) kitexLines() int {
	return f.logs.lines("KITEX: auto retry") + f.logs.lines("KITEX: to_service=")
}

// release ends the held call, and fails unless the next call succeeds: no breaker is open.
func (f *fullFixture) release(t *testing.T) {
	t.Helper()
	f.free()
	if err := receive(t, "held call", f.held); err != nil {
		t.Error(err)
	}
	if _, err := f.client.Find(context.Background(), "x"); err != nil {
		t.Errorf("after the held call: %v", err)
	}
	dump, err := json.Marshal(f.breakers.Dump())
	if err != nil || strings.Count(string(dump), "all circuit breakers are in closed state") != 2 {
		t.Errorf("got %s, %v, want all breakers closed", dump, err)
	}
}

// wantRefused checks the error of a call for which there is no place.
func wantRefused(t *testing.T, err error) {
	t.Helper()
	var failed *mux.Error
	var aware circuitbreak.CircuitBreakerAwareError
	switch {
	case !errors.Is(err, mux.ErrOverloaded), !errors.Is(err, kerrors.ErrRemoteOrNetwork):
		t.Fatalf("got %v, want mux.ErrOverloaded", err)
	case errors.Is(err, kerrors.ErrGetConnection), kerrors.IsTimeoutError(err):
		t.Fatalf("got %v, which Kitex tries again", err)
	case !errors.As(err, &failed) || !isAttemptNotSent(err) || failed.Addr == nil:
		t.Fatalf("got %v with %+v, want an error that says to whom nothing was sent", err, failed)
	case !errors.As(err, &aware) || aware.TypeForCircuitBreaker() != circuitbreak.TypeIgnorable:
		t.Fatalf("got %v, want one that circuit breakers ignore", err)
	}
}

// mostLines is how many log lines a thousand calls may cause. Each class has one a second, and no
// machine takes several seconds for calls that send nothing.
const mostLines = 10

// TestMuxRefusedCalls has a thousand calls refused by FailFast. That says nothing about the server,
// so Kitex retries no call and no breaker opens.
func TestMuxRefusedCalls(t *testing.T) {
	const calls = 1000
	for name, suite := range map[string][]ClientOption{"ours": nil, "Kitex's": {WithKitexTimeouts()}} {
		t.Run(name, func(t *testing.T) {
			f := newFullFixture(t, mux.FailFast, suite, client.WithRPCTimeout(patience), client.WithFailureRetry(retry.NewFailurePolicy()))
			for range calls {
				_, err := f.client.Find(context.Background(), "x")
				wantRefused(t, err)
				if counted := name == "ours"; saysNotSent(err) != counted {
					t.Fatalf("got %v, is it known of all attempts that nothing was sent: want %v", err, counted)
				}
			}
			if n := f.attempts.Load(); n != calls {
				t.Errorf("%d attempts, want %d", n, calls)
			}
			if n := f.failed.Load(); n != calls {
				t.Errorf("a tracer saw %d calls fail, want %d", n, calls)
			}
			if n := f.kitexLines() + f.logs.lines("KITELINE: call refused"); n < 1 || n > mostLines {
				t.Errorf("%d log lines, want 1 to %d", n, mostLines)
			}
			if st := onlyStats(t, f.pool); st.Overloads != calls {
				t.Errorf("%d overloads counted, want %d", st.Overloads, calls)
			}
			method, instance := f.told(circuitbreak.TypeIgnorable)
			_, failures := f.told(circuitbreak.TypeFailure)
			if method != calls || failures != 0 {
				t.Errorf("breakers: method ignored %d, instance %d and %d failures, want %d and no failure", method, instance, failures, calls)
			}
			f.release(t)
		})
	}
}

// TestMuxRefusedOneway: the caller of a oneway call that is refused gets an error.
func TestMuxRefusedOneway(t *testing.T) {
	f := newFullFixture(t, mux.FailFast, nil)
	wantRefused(t, f.client.Notify(context.Background(), &echo.Message{Text: "x"}))
	f.release(t)
}

// TestMuxRefusedRetry: a retry policy that names the error is asked, and the call is tried again.
func TestMuxRefusedRetry(t *testing.T) {
	// Otherwise Kitex makes the container at the first call with a policy of its own, while other
	// calls look for it.
	f := newFullFixture(t, mux.FailFast, nil, client.WithRetryContainer(retry.NewRetryContainer()), client.WithRPCTimeout(patience))
	var asked atomic.Int64
	policy := retry.NewFailurePolicyWithResultRetry(&retry.ShouldResultRetry{
		ErrorRetryWithCtx: func(_ context.Context, err error, _ rpcinfo.RPCInfo) bool {
			asked.Add(1)
			return errors.Is(err, mux.ErrOverloaded)
		},
	})
	_, err := f.client.Find(context.Background(), "x", callopt.WithRetryPolicy(retry.BuildFailurePolicy(policy)))
	wantRefused(t, err)
	if n := f.attempts.Load(); n != 3 || asked.Load() != 3 {
		t.Errorf("%d attempts, policy asked %d times, want 3", n, asked.Load())
	}
	f.release(t)
}

// TestMuxRefusedBounds: a call is refused before a bound handler sees its connection.
func TestMuxRefusedBounds(t *testing.T) {
	var writes atomic.Int64
	f := newFullFixture(t, mux.FailFast, nil, client.WithBoundHandler(countingOutbound{&writes}))
	before := writes.Load()
	_, err := f.client.Find(context.Background(), "x")
	wantRefused(t, err)
	if n := writes.Load() - before; n != 0 {
		t.Errorf("%d handlers ran for a call that has no connection", n)
	}
	f.release(t)
}

// countingOutbound counts requests.
type countingOutbound struct{ writes *atomic.Int64 }

// Write implements remote.OutboundHandler.
func (h countingOutbound) Write(ctx context.Context, c net.Conn, _ remote.Message) (context.Context, error) {
	h.writes.Add(1)
	_ = c.LocalAddr().String() + c.RemoteAddr().String()
	return ctx, nil
}

// TestMuxWaitedInVain has calls wait for a place until their time is over or their caller goes. No
// instance is to blame for that, and nothing is logged.
func TestMuxWaitedInVain(t *testing.T) {
	const calls = 20
	for name, suite := range map[string][]ClientOption{"ours": nil, "Kitex's": {WithKitexTimeouts()}} {
		for how, call := range map[string]func(f *fullFixture) error{
			"timed out": func(f *fullFixture) error {
				_, err := f.client.Find(context.Background(), "x", callopt.WithRPCTimeout(5*time.Millisecond))
				return err
			},
			"cancelled": func(f *fullFixture) error {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(5*time.Millisecond, cancel)
				_, err := f.client.Find(ctx, "x")
				return err
			},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				f := newFullFixture(t, mux.WaitForRoom, suite)
				for range calls {
					err := call(f)
					if !errors.Is(err, kerrors.ErrRPCTimeout) || errors.Is(err, kerrors.ErrGetConnection) {
						t.Fatalf("got %v, want a timeout", err)
					}
					var failed *mux.Error // Kitex's own timeout has none
					if suite == nil && (!errors.As(err, &failed) || failed.Op != "begin" || textProblem(err) != "") {
						t.Fatalf("got %v, which does not say that the call waited for a place", err)
					}
				}
				eventually(t, "Kitex's goroutines have ended", func() bool { // they may end later
					_, successes := f.told(circuitbreak.TypeSuccess)
					_, failures := f.told(circuitbreak.TypeFailure)
					return successes+failures == calls
				})
				if _, failures := f.told(circuitbreak.TypeFailure); failures != 0 || f.attempts.Load() != calls {
					t.Errorf("%d attempts, %d counted against the instance, want %d and none", f.attempts.Load(), failures, calls)
				}
				if n := f.kitexLines(); n != 0 {
					t.Errorf("%d log lines, want none", n)
				}
				f.release(t)
			})
		}
	}
}
