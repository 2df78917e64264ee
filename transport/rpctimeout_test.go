package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/proxy"
	"github.com/cloudwego/kitex/pkg/retry"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// slowHandler answers Repeat after count microseconds.
type slowHandler struct {
	echo.EchoService
	release chan struct{} // if not nil, the first call waits for it
	calls   atomic.Int64
}

func (h *slowHandler) Repeat(_ context.Context, text string, count int32, _ string) (string, error) {
	if h.calls.Add(1) == 1 && h.release != nil {
		<-h.release
	}
	<-time.After(time.Duration(count) * time.Microsecond)
	return text, nil
}

// startSlow serves h until the test ends.
func startSlow(t testing.TB, h *slowHandler) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	signal, running := whenRunning()
	srv := echoservice.NewServer(h, server.WithSuite(NewServerSuite(WithGroup(newTestGroup(t)))), server.WithListener(ln), signal)
	served := make(chan error, 1)
	go func() { served <- srv.Run() }()
	receive(t, "running server", running)
	t.Cleanup(func() {
		if h.release != nil {
			close(h.release)
		}
		if err := errors.Join(srv.Stop(), receive(t, "Run", served)); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// inKitexGoroutine returns a middleware that records whether Kitex's pool of goroutines for
// timeouts runs the call.
func inKitexGoroutine(seen *atomic.Bool) client.Option {
	return replacing(func(_ context.Context, next func() error) error {
		seen.Store(strings.Contains(string(debug.Stack()), "timeoutTask"))
		return next()
	})
}

type plainProxy struct{}

func (plainProxy) Configure(*proxy.Config) error              { return nil }
func (plainProxy) ResolveProxyInstance(context.Context) error { return nil }

// TestWhoKeepsTimeouts checks which clients' calls stay on the calling goroutine.
func TestWhoKeepsTimeouts(t *testing.T) {
	captureLogs(t)
	g := newTestGroup(t)
	address := startEcho(t, g)
	suite := client.WithSuite(NewClientSuite(WithGroup(g)))
	kitexs := client.WithSuite(NewClientSuite(WithGroup(g), WithKitexTimeouts()))
	conns := pool.New("echo", pool.Config{})
	t.Cleanup(func() { conns.Close() })
	for _, tc := range []struct {
		name string
		opts []client.Option
		ours bool
	}{
		{"suite", []client.Option{suite}, true},
		{"suite twice", []client.Option{suite, suite}, true},
		{"our pool", []client.Option{suite, client.WithConnPool(conns)}, true},
		{"nothing", nil, false},
		{"WithKitexTimeouts", []client.Option{kitexs}, false},
		{"WithKitexTimeouts, then the suite", []client.Option{kitexs, suite}, true},
		{"the suite, then WithKitexTimeouts", []client.Option{suite, kitexs}, false},
		{"short connections", []client.Option{suite, client.WithShortConnection()}, false},
		{"a user's dialer", []client.Option{suite, client.WithDialer(&plainDialer{NewDialer(WithGroup(g))})}, false},
		{"a user's handlers", []client.Option{suite, client.WithTransHandlerFactory(NewClientTransHandlerFactory())}, false},
		{"proxy", []client.Option{suite, client.WithProxy(plainProxy{})}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var kitex atomic.Bool
			c, _ := newEcho(t, address, append(tc.opts, client.WithRPCTimeout(patience), inKitexGoroutine(&kitex))...)
			_, err := c.Repeat(t.Context(), "x", 1, "") // its context can end
			if tc.name == "proxy" {
				return // the proxy finds no instance
			}
			if err != nil {
				t.Fatal(err)
			}
			if kitex.Load() == tc.ours {
				t.Errorf("in Kitex's goroutine: %v", kitex.Load())
			}
		})
	}
}

// A user's xDS router may change the timeout, as in Kitex, and sees every call once.
func TestTimeoutsBehindRouter(t *testing.T) {
	g := newTestGroup(t)
	address := silent(t, func() {})
	var routed int
	router := func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, request, response any) error {
			routed++
			cfg := rpcinfo.AsMutableRPCConfig(rpcinfo.GetRPCInfo(ctx).Config())
			if err := cfg.SetRPCTimeout(soon); err != nil {
				return err
			}
			return next(ctx, request, response)
		}
	}
	c, _ := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(g))), client.Option{F: func(o *client.Options, _ *utils.Slice) {
		o.XDSEnabled, o.XDSRouterMiddleware = true, router
	}})
	_, err := c.Repeat(context.Background(), "x", 1, "")
	if routed != 1 || !errors.Is(err, kerrors.ErrRPCTimeout) || !strings.Contains(err.Error(), "timeout=60ms") {
		t.Errorf("routed %d times, got %v", routed, err)
	}
}

// Code inside a call gets a context with the call's deadline and its caller's values, which ends
// when the call returns. The configuration stays as the user set it.
func TestTimedContext(t *testing.T) {
	g := newTestGroup(t)
	address := startEcho(t, g)
	type key struct{}
	var inside context.Context
	var done <-chan struct{}
	began := time.Now()
	c, _ := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(g))), client.WithRPCTimeout(patience),
		replacing(func(ctx context.Context, next func() error) error {
			inside, done = ctx, ctx.Done()
			if end, ok := ctx.Deadline(); !ok || end.Before(began.Add(patience)) || end.After(time.Now().Add(patience)) {
				t.Errorf("deadline: got %v, %v", end, ok)
			}
			if ctx.Err() != nil || ctx.Value(key{}) != "mine" || ctx.Done() != done {
				t.Errorf("got %v, %v", ctx.Err(), ctx.Value(key{}))
			}
			if d := rpcinfo.GetRPCInfo(ctx).Config().RPCTimeout(); d != patience {
				t.Errorf("configured timeout: got %v, want %v", d, patience)
			}
			return next()
		}))
	if _, err := c.Repeat(context.WithValue(context.Background(), key{}, "mine"), "x", 1, ""); err != nil {
		t.Fatal(err)
	}
	receive(t, "the end of the context", done)
	if err := inside.Err(); err != context.Canceled {
		t.Errorf("after the call: got %v", err)
	}
}

// Every way of keeping timeouts retries equally often.
func TestTimeoutsWithRetries(t *testing.T) {
	captureLogs(t)
	fail := retry.NewFailurePolicy()
	fail.StopPolicy.MaxRetryTimes = 2
	backup := retry.NewBackupPolicy(10)
	for _, tc := range []struct {
		name   string
		option client.Option
		// timeout is that of the attempt that is not answered. It is more than another attempt
		// takes on a busy machine.
		timeout time.Duration
	}{
		{"failure retry", client.WithFailureRetry(fail), 400 * time.Millisecond},
		{"backup request", client.WithBackupRequest(backup), patience},
	} {
		for _, way := range timeoutWays {
			t.Run(tc.name+" "+way.name, func(t *testing.T) {
				h := &slowHandler{release: make(chan struct{})}
				address := startSlow(t, h)
				c, _ := newEcho(t, address, append(way.options(newTestGroup(t)), client.WithRPCTimeout(tc.timeout), tc.option)...)
				got, err := c.Repeat(context.Background(), "mine", 0, "")
				if err != nil || got != "mine" || h.calls.Load() != 2 {
					t.Errorf("got %q, %v after %d calls", got, err, h.calls.Load())
				}
			})
		}
	}
}

// TestLateReplies makes many calls that end, by a timeout or by their context, at about the time
// their replies come. No call may get another's reply, and nothing may be left over.
func TestLateReplies(t *testing.T) {
	captureLogs(t)
	h := &slowHandler{}
	address := startSlow(t, h)
	for limit := 3 * time.Millisecond; ; limit *= 2 {
		answered, timedOut, canceled := callLate(t, address, limit)
		if answered > 0 && timedOut > 0 && canceled > 0 {
			return
		}
		if limit > patience || t.Failed() {
			t.Fatalf("%d answered, %d timed out, %d canceled: want some of each", answered, timedOut, canceled)
		}
	}
}

// callLate makes calls that would take up to twice limit, the time they have, and returns how many
// ended in which way.
func callLate(t *testing.T, address string, limit time.Duration) (answered, timedOut, canceled int64) {
	t.Helper()
	conns := pool.New("echo", pool.Config{MaxConnsPerAddress: 12})
	g := newTestGroup(t)
	c, _ := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(g))), client.WithConnPool(conns), client.WithRPCTimeout(limit))
	var counts [3]atomic.Int64
	var callers sync.WaitGroup
	for caller := range 16 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(caller), 1))
			for n := range 150 {
				text := fmt.Sprint(caller, "/", n)
				ctx, cancel := context.WithCancel(context.Background())
				if n%3 == 0 {
					time.AfterFunc(time.Duration(random.Int64N(int64(2*limit))), cancel)
				}
				got, err := c.Repeat(ctx, text, random.Int32N(int32(2*limit/time.Microsecond)), "")
				cancel()
				switch {
				case err == nil && got != text:
					t.Errorf("got %q, want %q", got, text)
				case err == nil:
					counts[0].Add(1)
				case errors.Is(err, context.Canceled):
					counts[2].Add(1)
				case errors.Is(err, kerrors.ErrRPCTimeout):
					counts[1].Add(1)
				default:
					t.Errorf("got %v", err)
				}
			}
		})
	}
	callers.Wait()
	if st := conns.Stats(); st.InUse != 0 || st.Dialing != 0 || st.Waiting != 0 || st.Open != st.Idle {
		t.Errorf("left over: %+v", st)
	}
	return counts[0].Load(), counts[1].Load(), counts[2].Load()
}

// A call that has ended leaves no connection, and the peer's end of it ends at once.
func TestEndedCallClosesConnection(t *testing.T) {
	captureLogs(t)
	for name, ctx := range map[string]func(context.Context, <-chan struct{}) context.Context{"deadline": within(soon), "canceled": canceledOnArrival} {
		t.Run(name, func(t *testing.T) {
			arrived, ended := make(chan struct{}, 1), make(chan struct{})
			address := peerOf(t, func(c net.Conn) {
				p := make([]byte, 64<<10)
				for first := true; ; first = false {
					if _, err := c.Read(p); err != nil {
						close(ended)
						return
					}
					if first {
						arrived <- struct{}{}
					}
				}
			})
			c, o := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t)))))
			if _, err := c.Repeat(ctx(context.Background(), arrived), "x", 1, ""); err == nil {
				t.Error("got no error")
			}
			receive(t, "the end of the connection", ended)
			if st := o.RemoteOpt.ConnPool.(*pool.Pool).Stats(); st.Open != 0 {
				t.Errorf("left over: %+v", st)
			}
		})
	}
}

// A call that ends while it waits for a connection is not the instance's fault.
func TestWaitForConnectionEndsWithCall(t *testing.T) {
	captureLogs(t)
	h := &slowHandler{release: make(chan struct{})}
	address := startSlow(t, h)
	breakers := circuitbreak.NewCBSuite(nil)
	breakers.UpdateInstanceCBConfig(circuitbreak.CBConfig{Enable: true, ErrRate: 0.1, MinSample: 1})
	conns := pool.New("echo", pool.Config{MaxConnsPerAddress: 1})
	c, _ := newEcho(t, address, client.WithSuite(NewClientSuite(WithGroup(newTestGroup(t)))), client.WithConnPool(conns), client.WithCircuitBreaker(breakers))
	holder := make(chan error, 1)
	go func() {
		_, err := c.Repeat(context.Background(), "holder", 0, "")
		holder <- err
	}()
	eventually(t, "the connection is in use", func() bool { return h.calls.Load() == 1 })
	for range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), soon/10)
		_, err := c.Repeat(ctx, "waiter", 0, "")
		cancel()
		if !errors.Is(err, kerrors.ErrRPCTimeout) || errors.Is(err, kerrors.ErrCircuitBreak) {
			t.Errorf("got %v, want a timeout", err)
		}
	}
	if st := conns.Stats(); st.WaitTimeouts != 5 {
		t.Errorf("%d waits ended, want 5: a call is made once", st.WaitTimeouts)
	}
	h.release <- struct{}{}
	if err := receive(t, "the holder's call", holder); err != nil {
		t.Error(err)
	}
	if _, err := c.Repeat(context.Background(), "later", 0, ""); err != nil {
		t.Errorf("got %v", err)
	}
}

// begun returns a timed call that has begun and watches its caller's context.
func begun(ctx context.Context, t *testing.T, timeout, writeTimeout time.Duration) *timedCall {
	t.Helper()
	info := rpcinfo.NewRPCInfo(nil, rpcinfo.NewEndpointInfo("echo", "Repeat", nil, nil), nil, nil, nil)
	call := beginCall(ctx, info, timeout, writeTimeout)
	call.watch()
	t.Cleanup(call.end)
	return call
}

// The second wait for a reply has only the time that the first one left.
func TestEveryWaitIsLimited(t *testing.T) {
	for name, wait := range map[string]func(b *byteBuffer) error{
		"Next":       func(b *byteBuffer) error { _, err := b.Next(2); return err },
		"Peek":       func(b *byteBuffer) error { _, err := b.Peek(2); return err },
		"Skip":       func(b *byteBuffer) error { return b.Skip(2) },
		"Read":       func(b *byteBuffer) error { _ = b.Skip(1); _, err := b.Read(make([]byte, 2)); return err },
		"ReadString": func(b *byteBuffer) error { _, err := b.ReadString(2); return err },
		"ReadBinary": func(b *byteBuffer) error { _, err := b.ReadBinary(make([]byte, 2)); return err },
		"ReadFrame":  func(b *byteBuffer) error { _, err := b.ReadFrame(2); return err },
		"reader":     func(b *byteBuffer) error { _, err := b.NetpollReader().Next(2); return err },
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := newTestPair(t, newTestGroup(t))
			if _, err := peer.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadTimeout(never)
			b := newReadBuffer(c)
			b.call = begun(context.Background(), t, soon, 0)
			result := make(chan error, 1)
			go func() { result <- wait(b) }()
			if err := receive(t, "the wait", result); !(extension{}).IsTimeoutErr(err) {
				t.Errorf("got %v, want a read timeout", err)
			}
		})
	}
}

// After a timed call writes have the connection's own timeout again. Nothing is sent for a call
// that has ended, and the shorter of the two limits holds.
func TestTimedWrites(t *testing.T) {
	const own = 30 * time.Millisecond
	// The call begins when its bytes exist: making 32 MiB takes longer than some calls have.
	flushIn := func(begin func() *timedCall, nc *byteBuffer, bytes int) error {
		_, err := nc.WriteBinary(make([]byte, bytes))
		nc.call = begin()
		nc.call.use(nc.conn)
		return errors.Join(err, nc.Flush())
	}
	flush := func(c *timedCall, nc *byteBuffer, bytes int) error {
		return flushIn(func() *timedCall { return c }, nc, bytes)
	}
	t.Run("ended", func(t *testing.T) {
		c, peer := newTestPair(t, newTestGroup(t))
		b := newWriteBuffer(c).(*byteBuffer)
		err := flush(begun(context.Background(), t, -1, 0), b, 10)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		_ = b.Release(err)
		c.Close()
		if n, _ := peer.Read(make([]byte, 1)); n != 0 {
			t.Error("something was sent")
		}
	})
	for name, tc := range map[string]struct{ call, own time.Duration }{
		"the call's": {soon, 0}, "the call's, shorter": {soon, never}, "the connection's": {never, own},
	} {
		for _, bytes := range []int{timedWriteBytes, 32 << 20} {
			t.Run(fmt.Sprint(name, " ", bytes), func(t *testing.T) {
				c, _ := newTestPair(t, newTestGroup(t), WithWriteTimeout(tc.own))
				for range 200 { // fills what the kernel has room for
					err := flush(begun(context.Background(), t, tc.call, tc.own), newWriteBuffer(c).(*byteBuffer), bytes)
					if err != nil {
						return
					}
				}
				t.Error("the peer reads nothing, and everything was sent")
			})
		}
	}
	t.Run("a peer that reads slowly", func(t *testing.T) {
		c, peer := newTestPair(t, newTestGroup(t))
		go func() {
			for p := make([]byte, timedWriteBytes); ; { // 32 MiB take seconds
				if _, err := io.ReadFull(peer, p); err != nil {
					return
				}
				<-time.After(soon / 6)
			}
		}()
		begin := func() *timedCall { return begun(context.Background(), t, soon, 0) }
		if err := flushIn(begin, newWriteBuffer(c).(*byteBuffer), 32<<20); !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the write did not end with its call: got %v", err)
		}
	})
	t.Run("restored", func(t *testing.T) {
		c, peer := newTestPair(t, newTestGroup(t))
		if err := flush(begun(context.Background(), t, soon, 0), newWriteBuffer(c).(*byteBuffer), 10); err != nil {
			t.Fatal(err)
		}
		go func() {
			<-time.After(2 * soon)
			_, _ = io.Copy(io.Discard, peer)
		}()
		call := begun(context.Background(), t, never, 0)
		call.deadline = time.Time{}
		if err := flush(call, newWriteBuffer(c).(*byteBuffer), 32<<20); err != nil {
			t.Errorf("a call without a limit: got %v", err)
		}
	})
}

// The limit of the call around it does not limit a nested call.
func TestTimedCallOf(t *testing.T) {
	call := begun(context.Background(), t, never, 0)
	other := begun(call, t, never, 0)
	if timedCallOf(call, call.info) != call || timedCallOf(other, other.info) != other {
		t.Error("a call is not its own")
	}
	if timedCallOf(other, call.info) != nil || timedCallOf(context.Background(), nil) != nil {
		t.Error("a call is another's")
	}
	if (sealedCall{call}).Done() != nil || timedCallOf(sealedCall{call}, call.info) != nil {
		t.Error("a sealed call is seen")
	}
}

// watchedContext counts the watches for its end.
type watchedContext struct {
	context.Context
	done     chan struct{}
	watchers atomic.Int64
}

// Done hides the context inside: package context would watch that one.
func (c *watchedContext) Done() <-chan struct{} { return c.done }

// AfterFunc is the method that package context looks for.
func (c *watchedContext) AfterFunc(func()) (stop func() bool) {
	c.watchers.Add(1)
	return func() bool { c.watchers.Add(-1); return true }
}

// A context that outlives its calls keeps nothing of them.
func TestEndedCallIsForgotten(t *testing.T) {
	caller := &watchedContext{Context: context.Background(), done: make(chan struct{})}
	call := begun(caller, t, never, 0)
	if n := caller.watchers.Load(); n != 1 {
		t.Errorf("during the call: got %d watchers, want 1", n)
	}
	call.end()
	if n := caller.watchers.Load(); n != 0 {
		t.Errorf("after the call: got %d watchers, want 0", n)
	}
}

// TestEndedCallRaces: every goroutine that asks a call for Done while it ends is told, and nothing
// watches its caller afterwards.
func TestEndedCallRaces(t *testing.T) {
	for range 500 {
		caller := &watchedContext{Context: context.Background(), done: make(chan struct{})}
		call := beginCall(caller, nil, never, 0)
		asked := make([]<-chan struct{}, 3)
		var together sync.WaitGroup
		for i := range asked {
			together.Go(func() { asked[i] = call.Done() })
		}
		together.Go(call.watch)
		together.Go(call.end)
		together.Wait()
		for _, done := range asked {
			receive(t, "the end of the call", done)
		}
		if n := caller.watchers.Load(); n != 0 {
			t.Fatalf("after the call: got %d watchers, want 0", n)
		}
	}
}

// A call never closes a connection after letGo, however late it ends.
func TestLetGo(t *testing.T) {
	c, _ := newTestPair(t, newTestGroup(t))
	ctx, cancel := context.WithCancel(context.Background())
	call := begun(ctx, t, never, 0)
	call.use(c)
	call.letGo()
	cancel()
	receive(t, "the end of the call", call.Done())
	call.cut()
	if !c.IsActive() {
		t.Error("it was closed")
	}
	call.use(c) // too late
	if c.IsActive() {
		t.Error("a call that has ended uses a connection")
	}
}

// TestTimedDeadlineIsSteady: a call's deadline has a monotonic reading even if its context's has
// none, so that no step of the wall clock ends the call.
func TestTimedDeadlineIsSteady(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(time.Hour).Round(0))
	defer cancel()
	for _, timeout := range []time.Duration{0, 2 * time.Hour, time.Minute} {
		c := beginCall(ctx, nil, timeout, 0)
		at, _ := c.Deadline()
		if monotonic := at != at.Round(0); !monotonic {
			t.Errorf("timeout %v: got the deadline %v, without a monotonic reading", timeout, at)
		}
		want := time.Hour
		if timeout > 0 {
			want = min(want, timeout)
		}
		if left := time.Until(at); left > want || left < want-30*time.Second {
			t.Errorf("timeout %v: got %v left, want %v", timeout, left, want)
		}
		c.end()
	}
}
