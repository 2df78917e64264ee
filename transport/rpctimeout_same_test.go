package transport

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/rpctimeout"
	"github.com/cloudwego/kitex/pkg/utils"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/transport/conn"
)

// timeoutWays are the ways in which a call can be ended. They must agree, and stock Kitex says what
// is right.
var timeoutWays = []struct {
	name    string
	racy    bool
	options func(g *conn.Group) []client.Option
}{
	{"stock", true, func(*conn.Group) []client.Option { return nil }},
	{"suite with Kitex's timeouts", true, func(g *conn.Group) []client.Option {
		return []client.Option{client.WithSuite(NewClientSuite(WithGroup(g), WithKitexTimeouts()))}
	}},
	{"suite", false, func(g *conn.Group) []client.Option {
		return []client.Option{client.WithSuite(NewClientSuite(WithGroup(g)))}
	}},
}

// ended is what a caller, and what stands between, can tell of a call that failed, without what a
// CallError adds.
type ended struct {
	text string

	rpcTimeout, getConnection, remoteOrNet bool
	byBusiness, canceledByBusiness         bool
	canceled, deadlineExceeded             bool
	osTimeout, netTimeout, kitexTimeout    bool
	detailed, own                          bool
	more                                   bool // there is a CallError

	service, instance circuitbreak.ErrorType // what circuit breakers take it for

	traced      string // what a tracer is told
	tracedPanic bool
}

var errOwn = errors.New("a middleware's own")

// theActual matches how much later than its start a call's deadline was; Kitex rounds nothing.
var theActual = regexp.MustCompile(`actual=-?[0-9.]+[mµn]?s`)

func textOf(err error) string {
	if err == nil {
		return "<nil>"
	}
	text, _, _ := strings.Cut(err.Error(), "\nstack=")
	text, _, _ = strings.Cut(text, ", phase=")
	return theActual.ReplaceAllString(text, "actual=T")
}

func endedWith(err error, tr *finishTracer) ended {
	var netErr net.Error
	var detailed *kerrors.DetailedError
	panicked, traced := tr.last()
	more := errors.As(err, new(*CallError))
	return ended{
		text:               textOf(err),
		rpcTimeout:         errors.Is(err, kerrors.ErrRPCTimeout),
		getConnection:      errors.Is(err, kerrors.ErrGetConnection),
		remoteOrNet:        errors.Is(err, kerrors.ErrRemoteOrNetwork),
		byBusiness:         errors.Is(err, kerrors.ErrTimeoutByBusiness),
		canceledByBusiness: errors.Is(err, kerrors.ErrCanceledByBusiness),
		canceled:           errors.Is(err, context.Canceled) && (!more || !errors.Is(err, kerrors.ErrCanceledByBusiness)),
		deadlineExceeded:   !more && errors.Is(err, context.DeadlineExceeded),
		osTimeout:          os.IsTimeout(err),
		kitexTimeout:       kerrors.IsTimeoutError(err),
		netTimeout:         !more && errors.As(err, &netErr) && netErr.Timeout(),
		own:                !more && errors.Is(err, errOwn),
		more:               more,
		detailed:           errors.As(err, &detailed),
		service:            circuitbreak.ErrorTypeOnServiceLevel(context.Background(), nil, nil, err),
		instance:           circuitbreak.ErrorTypeOnInstanceLevel(context.Background(), nil, nil, err),
		traced:             textOf(traced),
		tracedPanic:        panicked,
	}
}

// finishTracer keeps what Kitex reports of calls when they finish.
type finishTracer struct {
	mu       sync.Mutex
	err      error // guarded by mu
	panicked bool  // guarded by mu
}

// Start implements stats.Tracer.
func (*finishTracer) Start(ctx context.Context) context.Context { return ctx }

// Finish implements stats.Tracer.
func (tr *finishTracer) Finish(ctx context.Context) {
	st := rpcinfo.GetRPCInfo(ctx).Stats()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.err = st.Error()
	tr.panicked, _ = st.Panicked()
}

func (tr *finishTracer) last() (panicked bool, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.panicked, tr.err
}

// peerOf listens until the test ends and hands each connection to serve. serve may return at once:
// connections stay open until the test ends.
func peerOf(t testing.TB, serve func(c net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			running.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return ln.Addr().String()
}

// silent takes requests and says nothing.
func silent(t *testing.T, arrived func()) string {
	return peerOf(t, func(c net.Conn) {
		p := make([]byte, 64<<10)
		for {
			if _, err := c.Read(p); err != nil {
				return
			}
			arrived()
		}
	})
}

// deaf takes connections and never reads.
func deaf(t *testing.T, arrived func()) string { return peerOf(t, func(net.Conn) { arrived() }) }

// unanswered neither accepts connections nor refuses them: its accept queue is full.
func unanswered(t *testing.T, _ func()) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { _ = listenWithoutQueue(fd) }); err != nil {
		t.Fatal(err)
	}
	const attempts = 16
	for range attempts {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), soon)
		if err != nil {
			return ln.Addr().String()
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skipf("%d connections were queued in spite of a backlog of 0", attempts)
	return ""
}

// limits of the calls: one that ends a call within a test, and one that is never reached.
const (
	soon  = 60 * time.Millisecond
	never = 100 * time.Second

	// longDial limits a dial that stock Kitex's call may leave behind. It is more than any call
	// takes.
	longDial = 3 * time.Second
)

// failing is a call that fails with or before its time limit.
type failing struct {
	name    string
	peer    func(t *testing.T, arrived func()) string // default: silent
	options []client.Option
	call    []callopt.Option
	ctx     func(ctx context.Context, arrived <-chan struct{}) context.Context
	request int // bytes
	fine    bool
	suites  bool   // only the suites agree
	text    string // part of stock Kitex's text
}

func rpcTimeout(d time.Duration) []client.Option { return []client.Option{client.WithRPCTimeout(d)} }

func within(d time.Duration) func(context.Context, <-chan struct{}) context.Context {
	return func(ctx context.Context, _ <-chan struct{}) context.Context {
		ctx, cancel := context.WithTimeout(ctx, d)
		context.AfterFunc(ctx, cancel)
		return ctx
	}
}

// canceledOnArrival ends the context when the peer has seen something of the call.
func canceledOnArrival(ctx context.Context, arrived <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		<-arrived
		cancel()
	}()
	return ctx
}

// canceledSoon ends the context when the call has begun; by a timer, since its peer never sees it.
func canceledSoon(ctx context.Context, _ <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(soon, cancel)
	return ctx
}

func canceledBefore(ctx context.Context, _ <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// replacing returns a middleware that runs f around the call.
func replacing(f func(ctx context.Context, next func() error) error) client.Option {
	return client.WithMiddleware(func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, request, response any) error {
			return f(ctx, func() error { return next(ctx, request, response) })
		}
	})
}

// extra adds d to each of a client's timeouts, as rpctimeout.MiddlewareBuilder does.
func extra(d time.Duration) client.Option {
	return client.Option{F: func(o *client.Options, _ *utils.Slice) { o.ExtraTimeout = d }}
}

var failingCalls = []failing{
	{name: "timeout", options: rpcTimeout(soon), text: "timeout=60ms, to=echo, method=EchoPayload, location=kitex.rpcTimeoutMW, remote="},
	{name: "timeout with an extra", options: append(rpcTimeout(soon+20*time.Millisecond), extra(-20*time.Millisecond)), text: "timeout=60ms"},
	{name: "timeout of the call", options: rpcTimeout(never), call: []callopt.Option{callopt.WithRPCTimeout(soon)}, text: "timeout=60ms"},
	{name: "canceled", ctx: canceledOnArrival, text: "timeout=0s, to=echo, method=EchoPayload, location=kitex.rpcTimeoutMW, remote="},
	{name: "canceled with a timeout", options: rpcTimeout(never), ctx: canceledOnArrival, text: ": context canceled by business"},
	{name: "canceled, fine", options: rpcTimeout(never), ctx: canceledOnArrival, fine: true, text: "canceled by business: timeout=1m40s"},
	{name: "canceled before", options: rpcTimeout(never), ctx: canceledBefore, text: "canceled by business"},
	{name: "deadline", ctx: within(soon), text: "timeout by business, actual="},
	{name: "deadline, fine", ctx: within(soon), fine: true, text: "timeout by business: timeout=0s"},
	{name: "deadline long before timeout", options: rpcTimeout(never), ctx: within(soon), text: "timeout by business, actual="},
	{name: "deadline before timeout", options: rpcTimeout(soon + 30*time.Millisecond), ctx: within(soon), text: "context deadline earlier than timeout, actual="},
	{name: "deadline after timeout", options: rpcTimeout(soon), ctx: within(never), text: "timeout=60ms"},
	{name: "deadline passed before", options: rpcTimeout(soon), ctx: within(-soon), text: "timeout=60ms"},
	{name: "dial takes too long", peer: unanswered, options: append(rpcTimeout(soon), client.WithConnectTimeout(longDial)), text: "timeout=60ms"},
	{name: "canceled while dialing", peer: unanswered, options: []client.Option{client.WithConnectTimeout(longDial)}, ctx: canceledSoon, text: "canceled by business"},
	// Netpoll's error for a dial that takes too long is no net.Error, and package net's is not
	// always the same.
	{name: "dial gives up first", suites: true, peer: unanswered, options: append(rpcTimeout(never), client.WithConnectTimeout(soon/6)), text: "get connection error"},
	{name: "peer does not read", peer: deaf, request: 32 << 20, options: rpcTimeout(soon), text: "timeout=60ms"},
	{name: "canceled while writing", peer: deaf, request: 32 << 20, ctx: canceledOnArrival, text: "canceled by business"},
	{name: "middleware hides the error", options: append(rpcTimeout(soon), replacing(func(ctx context.Context, next func() error) error {
		_ = next()
		<-ctx.Done() // Kitex's read timeout, a little later, may come first on a busy machine
		return nil
	})), text: "timeout=60ms"},
	{name: "middleware fails by itself", options: append(rpcTimeout(never), replacing(func(context.Context, func() error) error {
		return errOwn
	})), text: errOwn.Error()},
	{name: "middleware cancels by itself", options: append(rpcTimeout(never), replacing(func(context.Context, func() error) error {
		return context.Canceled
	})), text: "canceled by business"},
	{name: "middleware waits for its context", options: append(rpcTimeout(soon), replacing(func(ctx context.Context, _ func() error) error {
		<-ctx.Done()
		return errOwn
	})), text: "timeout=60ms"},
	{name: "middleware panics", options: append(rpcTimeout(never), replacing(func(context.Context, func() error) error {
		panic("boom")
	})), text: "error=boom"},
}

// TestTimeoutsAreKitexs: a failed call does not show whether Kitex or the transport has ended it.
func TestTimeoutsAreKitexs(t *testing.T) {
	captureLogs(t)
	for _, tc := range failingCalls {
		t.Run(tc.name, func(t *testing.T) {
			if !tc.fine { // fine is a switch of the process
				t.Parallel()
			}
			arrived := make(chan struct{}, 1000)
			peer := tc.peer
			if peer == nil {
				peer = silent
			}
			address := peer(t, func() {
				select {
				case arrived <- struct{}{}:
				default:
				}
			})
			if tc.fine {
				rpctimeout.EnableGlobalNeedFineGrainedErrCode()
				t.Cleanup(rpctimeout.DisableGlobalNeedFineGrainedErrCode)
			}
			var stock ended
			for i, way := range timeoutWays {
				got := tc.make(t, address, arrived, way.options(newTestGroup(t)))
				for retries := 5; retries > 0 && (way.racy && tc.isLate(got) || tc.isEarly(got)); retries-- {
					got = tc.make(t, address, arrived, way.options(newTestGroup(t)))
				}
				got.deadlineExceeded = got.deadlineExceeded && !tc.suites
				if wants := !way.racy && tc.endsCall(); got.more != wants {
					t.Errorf("%s: a CallError is there: %v, want %v", way.name, got.more, wants)
				}
				got.more = false
				if i == 0 || tc.suites && i == 1 {
					stock = got
					if !strings.Contains(got.text, tc.text) {
						t.Errorf("%s: got %q, want %q in it", way.name, got.text, tc.text)
					}
				}
				if got != stock {
					t.Errorf("%s:\n got %+v\nwant %+v", way.name, got, stock)
				}
			}
		})
	}
}

// endsCall reports whether the call ends because of its limit, and not for a reason of its own.
func (tc *failing) endsCall() bool {
	switch tc.name {
	case "dial gives up first", "middleware fails by itself", "middleware panics":
		return false
	}
	return true
}

// isLate reports whether Kitex's goroutine, which times out 5 ms later than its waiter, was first,
// as it may be on a busy machine. Then the caller gets the goroutine's own error, or a cancellation
// that the caller did not ask for. The goroutine may also be first to choose an instance, for a
// call that has ended before it began.
func (tc *failing) isLate(got ended) bool {
	return !strings.Contains(got.text, tc.text) || got.canceled && !strings.Contains(tc.name, "cancel") ||
		strings.HasSuffix(tc.name, " before") && strings.Contains(got.text, "remote=")
}

// isEarly reports whether a call was over before it had an instance, although its limit leaves time
// for that: the machine was busy.
func (tc *failing) isEarly(got ended) bool {
	limited := slices.ContainsFunc([]string{"deadline", "timeout", "dial takes", "canceled while dialing", "middleware hides", "peer"}, func(kind string) bool {
		return strings.HasPrefix(tc.name, kind)
	})
	return limited && !strings.HasSuffix(tc.name, " before") && !strings.Contains(got.text, "remote=")
}

func (tc *failing) make(t *testing.T, address string, arrived chan struct{}, opts []client.Option) ended {
	t.Helper()
	for len(arrived) > 0 {
		<-arrived // of the previous way
	}
	tr := &finishTracer{}
	c, _ := newEcho(t, address, append(append(opts, client.WithTracer(tr)), withConnectTimeoutLast(tc.options)...)...)
	ctx := context.Background()
	if tc.ctx != nil {
		ctx = tc.ctx(ctx, arrived)
	}
	began := time.Now()
	_, err := c.EchoPayload(ctx, &echo.Payload{Data: bytes.Repeat([]byte{1}, tc.request)}, tc.call...)
	if took := time.Since(began); took > longDial*3/4 {
		t.Errorf("it took %v", took)
	}
	return endedWith(err, tr)
}

// withConnectTimeoutLast makes a connect timeout among opts win over newEcho's.
func withConnectTimeoutLast(opts []client.Option) []client.Option {
	late := make([]client.Option, 0, len(opts))
	for _, opt := range opts {
		late = append(late, client.TailOption(opt))
	}
	return late
}
