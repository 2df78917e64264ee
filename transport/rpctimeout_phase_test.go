package transport

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/pool"
)

// untilEnd returns a middleware that waits for the end of its call, before or after it makes the
// call, and returns what f makes of the result.
func untilEnd(before bool, f func(err error) error) client.Option {
	return replacing(func(ctx context.Context, next func() error) error {
		if before {
			<-ctx.Done()
			return f(nil)
		}
		err := next()
		<-ctx.Done()
		return f(err)
	})
}

// phaseCase is a call that ends in a phase.
type phaseCase struct {
	name    string
	suite   func(opts ...ClientOption) client.Suite // default: NewClientSuite
	peer    func(t *testing.T, arrived func()) string
	options []client.Option
	request int
	phase   CallPhase
	notSent bool
	cause   any // target of errors.As; nil: any
}

var phaseCases = []phaseCase{
	{
		name: "a middleware waits", peer: silent, phase: PhasePrepare, notSent: true,
		options: []client.Option{untilEnd(true, func(error) error { return kerrors.ErrServiceDiscovery.WithCause(errOwn) })},
	},
	{name: "no connection comes back to the pool", phase: PhaseConnect, notSent: true},
	{name: "the peer does not accept", peer: unanswered, phase: PhaseConnect, notSent: true},
	{name: "the peer does not read", peer: deaf, request: 32 << 20, phase: PhaseSend},
	{name: "the peer does not answer", peer: silent, phase: PhaseReceive},
	{
		name: "a middleware keeps the result", peer: echoes, phase: PhaseReturn,
		options: []client.Option{untilEnd(false, func(err error) error { return err })},
	},
	{
		name: "shared, the peer does not accept", suite: NewMuxClientSuite, peer: unanswered,
		phase: PhaseConnect, notSent: true, cause: new(*mux.Error),
	},
	{
		name: "shared, the peer does not answer", suite: NewMuxClientSuite, peer: silent,
		phase: PhaseReceive, cause: new(*mux.Error),
	},
	{
		name: "shared, a middleware keeps the result", suite: NewMuxClientSuite, peer: echoes, phase: PhaseReturn,
		options: []client.Option{untilEnd(false, func(err error) error { return err })},
	},
}

func echoes(t *testing.T, _ func()) string { return startEcho(t, newTestGroup(t)) }

// TestPhaseOfEndedCall: a timeout says how far its call had come, whether it was sent, and what it
// had failed with. In all else it is like Kitex's timeouts.
func TestPhaseOfEndedCall(t *testing.T) {
	captureLogs(t)
	for _, tc := range phaseCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			suite := tc.suite
			if suite == nil {
				suite = NewClientSuite
			}
			opts := append([]client.Option{client.WithSuite(suite(WithGroup(newTestGroup(t))))}, tc.options...)
			var address string
			if tc.peer != nil {
				address = tc.peer(t, func() {})
			} else {
				var option client.Option
				address, option = usedUp(t)
				opts = append(opts, option)
			}
			c, _ := newEcho(t, address, opts...)
			request := &echo.Payload{Data: bytes.Repeat([]byte{1}, tc.request)}
			for timeout := soon; ; timeout *= 2 { // on a busy machine a call may not come so far
				_, err := c.EchoPayload(context.Background(), request, callopt.WithRPCTimeout(timeout))
				var ended *CallError
				if early := errors.As(err, &ended) && ended.Phase < tc.phase; !early || timeout > patience {
					wantEnded(t, err, &tc)
					return
				}
			}
		})
	}
}

// usedUp returns the address of a server, and the pool of a client whose only connection is in use.
func usedUp(t *testing.T) (address string, conns client.Option) {
	t.Helper()
	address = silent(t, func() {})
	p := pool.New("echo", pool.Config{MaxConnsPerAddress: 1})
	holder, _ := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t)))), client.WithConnPool(p))
	ctx, cancel := context.WithCancel(context.Background())
	held := make(chan struct{})
	go func() {
		defer close(held)
		_, _ = holder.Repeat(ctx, "holder", 1, "")
	}()
	t.Cleanup(func() {
		cancel()
		<-held
	})
	eventually(t, "the connection is in use", func() bool { return p.Stats().InUse == 1 })
	return address, client.WithConnPool(p)
}

func wantEnded(t *testing.T, err error, tc *phaseCase) {
	t.Helper()
	var ended *CallError
	if !errors.As(err, &ended) {
		t.Fatalf("got %v, without a CallError", err)
	}
	if ended.Phase != tc.phase || ended.NotSent() != tc.notSent {
		t.Errorf("got phase %v, not sent %v, want %v, %v: %v", ended.Phase, ended.NotSent(), tc.phase, tc.notSent, err)
	}
	text := err.Error()
	if !strings.HasPrefix(text, "rpc timeout: timeout=") ||
		!strings.Contains(text, ", to=echo, method=EchoPayload, location=kitex.rpcTimeoutMW") || !strings.Contains(text, ", phase="+tc.phase.String()) || strings.Contains(text, "not sent") != tc.notSent {
		t.Errorf("got the text %q", text)
	}
	if own := tc.phase == PhaseSend || tc.phase == PhaseReceive; own && tc.suite == nil && ended.Err != nil {
		t.Errorf("got the cause %v, which is that the call has ended", ended.Err)
	}
	if tc.cause != nil && !errors.As(err, tc.cause) {
		t.Errorf("got %v, want a %T", err, tc.cause)
	}
	if !errors.Is(err, kerrors.ErrRPCTimeout) || !kerrors.IsTimeoutError(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, which is no timeout", err)
	}
	if errors.Is(err, kerrors.ErrGetConnection) || errors.Is(err, kerrors.ErrRemoteOrNetwork) || errors.Is(err, kerrors.ErrServiceDiscovery) {
		t.Errorf("got %v, which is more than a timeout", err)
	}
	if kind := circuitbreak.ErrorTypeOnServiceLevel(context.Background(), nil, nil, err); kind != circuitbreak.TypeTimeout {
		t.Errorf("circuit breakers take it for %v", kind)
	}
	if tc.phase == PhasePrepare && !errors.Is(err, errOwn) {
		t.Errorf("got %v, without the middleware's error", err)
	}
}

// TestCallErrorIsCanceled: the error of a call that its caller has cancelled says so, and apart
// from that no more than Kitex's.
func TestCallErrorIsCanceled(t *testing.T) {
	captureLogs(t)
	address := silent(t, func() {})
	c, _ := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t)))))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := c.Repeat(ctx, "x", 1, "")
	var ended *CallError
	if !errors.As(err, &ended) || ended.Phase != PhasePrepare || !ended.NotSent() || ended.Err != nil ||
		!errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestTimeoutAllocations: a timeout costs a call one allocation. Kitex's service discovery, which
// asks each call for Done, costs neither a channel nor a timer.
func TestTimeoutAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates, too")
	}
	g := newTestGroup(t)
	address := startEcho(t, g)
	for name, suite := range map[string]client.Option{
		"pooled": client.WithSuite(NewClientSuite(WithGroup(g))), "shared": client.WithSuite(NewMuxClientSuite(WithGroup(g))),
	} {
		allocations := func(opts ...client.Option) float64 {
			c, _ := newEcho(t, address, append(opts, suite)...)
			call := func() {
				if _, err := c.EchoPayload(context.Background(), &echo.Payload{}); err != nil {
					t.Fatal(err)
				}
			}
			for range 100 { // connects, fills pools
				call()
			}
			least := math.Inf(1) // a garbage collection may have emptied pools
			for range 3 {
				least = min(least, testing.AllocsPerRun(500, call))
			}
			return least
		}
		without, with := allocations(), allocations(client.WithRPCTimeout(time.Hour))
		if with > without+1 {
			t.Errorf("%s: got %v allocations, %v without a timeout, want one more at most", name, with, without)
		}
	}
}

// TestDoneForOthers: only Kitex's service discovery gets the channel that is never closed.
func TestDoneForOthers(t *testing.T) {
	g := newTestGroup(t)
	address := startEcho(t, g)
	var asked context.Context
	var done <-chan struct{}
	c, o := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(g))), client.WithRPCTimeout(time.Hour),
		// This middleware runs after service discovery.
		client.WithInstanceMW(func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, request, response any) error {
				asked, done = ctx, ctx.Done()
				return next(ctx, request, response)
			}
		}))
	for range 3 {
		if _, err := c.EchoPayload(context.Background(), &echo.Payload{}); err != nil {
			t.Fatal(err)
		}
		receive(t, "the end of the call", done)
		if asked.Err() == nil || asked.Done() != done {
			t.Error("the context is not that of a call that has ended")
		}
	}
	if k := o.RemoteOpt.CliHandlerFactory.(clientHandlerFactory).keeper; k.discovery.Load() == 0 {
		t.Error("Kitex's service discovery was not found")
	}
}
