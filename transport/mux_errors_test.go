package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/pool"
)

// wire carries connections to a server until it is cut.
type wire struct {
	ln     net.Listener
	target string
	copies sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func newWire(t testing.TB, target string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, target: target}
	w.copies.Go(w.accept)
	t.Cleanup(func() {
		ln.Close()
		w.cut()
		w.copies.Wait()
	})
	return w
}

func (w *wire) address() string { return w.ln.Addr().String() }

func (w *wire) accept() {
	for {
		near, err := w.ln.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.target)
		if err != nil {
			near.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, near, far)
		w.mu.Unlock()
		for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
			w.copies.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				pair[0].Close()
			})
		}
	}
}

// cut closes all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// refusedAddress returns an address at which nothing listens.
func refusedAddress(t testing.TB) string { return refusedAddresses(t, 1)[0] }

// refusedAddresses returns n different such addresses. It holds the ports until all are known,
// since a system may reuse a port that was just closed.
func refusedAddresses(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addresses = append(addresses, ln.Addr().String())
	}
	return addresses
}

// garblingCodec writes no Thrift.
type garblingCodec struct{ remote.PayloadCodec }

func (garblingCodec) Marshal(_ context.Context, _ remote.Message, out remote.ByteBuffer) error {
	_, err := out.WriteString("this is not what a server reads")
	return err
}

// heldService makes calls of Find wait until they are released.
type heldService struct {
	serviceFuncs
	began   chan struct{}
	release chan struct{}
	calls   atomic.Int64
	once    sync.Once
}

// letGo releases all calls, later ones included.
func (s *heldService) letGo() { s.once.Do(func() { close(s.release) }) }

func newHeldService() *heldService {
	s := &heldService{began: make(chan struct{}, 1000), release: make(chan struct{})}
	s.find = func(_ context.Context, key string) (*echo.Message, error) {
		s.calls.Add(1)
		s.began <- struct{}{}
		<-s.release
		return &echo.Message{Text: key}, nil
	}
	return s
}

// muxFailure is a call that fails.
type muxFailure struct {
	name string
	cfg  pool.MuxConfig
	opts []client.Option
	call func(t *testing.T, f *muxFixture) error
	is   []error
	not  []error
	text string
	runs int64 // how often Find's handler must have been called
}

// muxFixture is what a muxFailure's call works with.
type muxFixture struct {
	client  echoservice.Client
	pool    *pool.Mux
	service *heldService
	wire    *wire
}

// held makes a call of Find in the background, and returns when its handler runs.
func (f *muxFixture) held(ctx context.Context, t *testing.T) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := f.client.Find(ctx, "held")
		done <- err
	}()
	receive(t, "handler", f.service.began)
	return done
}

func muxFailures() []muxFailure {
	background := context.Background()
	timedOut := func(t *testing.T, f *muxFixture) error {
		_, err := f.client.Find(background, "x", callopt.WithRPCTimeout(100*time.Millisecond))
		receive(t, "handler", f.service.began) // may be late on a busy machine
		return err
	}
	cancelled := func(t *testing.T, f *muxFixture) error {
		ctx, cancel := context.WithCancel(background)
		done := f.held(ctx, t)
		cancel()
		return receive(t, "cancelled call", done)
	}
	one := pool.MuxConfig{MaxConns: 1, MaxFrameBytes: 64 << 10}
	kitex := client.WithSuite(NewMuxClientSuite(WithKitexTimeouts()))
	return []muxFailure{
		{"peer closed with a call in flight", one, nil, func(t *testing.T, f *muxFixture) error {
			done := f.held(background, t)
			f.wire.cut()
			return receive(t, "call", done)
		}, []error{kerrors.ErrRemoteOrNetwork, netpoll.ErrConnClosed}, []error{kerrors.ErrGetConnection, kerrors.ErrRPCTimeout}, "waiting for the reply", 1},
		{"timeout", one, nil, timedOut,
			[]error{kerrors.ErrRPCTimeout}, []error{kerrors.ErrGetConnection}, "", 1},
		{"timeout, Kitex's", one, []client.Option{kitex}, timedOut,
			[]error{kerrors.ErrRPCTimeout}, []error{kerrors.ErrGetConnection}, "", 1},
		{"cancelled", one, nil, cancelled,
			[]error{kerrors.ErrRPCTimeout, context.Canceled}, []error{kerrors.ErrGetConnection}, "by business", 1},
		{"cancelled, Kitex's", one, []client.Option{kitex}, cancelled,
			[]error{kerrors.ErrRPCTimeout, context.Canceled}, []error{kerrors.ErrGetConnection}, "by business", 1},
		{"overload", pool.MuxConfig{MaxConns: 1, MaxInFlight: 1, Overload: mux.FailFast}, nil, func(t *testing.T, f *muxFixture) error {
			done := f.held(background, t)
			_, err := f.client.Find(background, "x")
			f.service.release <- struct{}{}
			if err := receive(t, "held call", done); err != nil {
				t.Error(err)
			}
			return err
		}, []error{kerrors.ErrRemoteOrNetwork, mux.ErrOverloaded}, []error{kerrors.ErrGetConnection, kerrors.ErrRPCTimeout}, "waiting for a place", 1},
		{"request too large", one, nil, func(_ *testing.T, f *muxFixture) error {
			_, err := f.client.EchoPayload(background, &echo.Payload{Data: make([]byte, 70<<10)})
			return err
		}, []error{kerrors.ErrRemoteOrNetwork}, []error{kerrors.ErrGetConnection, netpoll.ErrConnClosed}, "too large", 0},
		{"reply too large", one, nil, func(_ *testing.T, f *muxFixture) error {
			_, err := f.client.Repeat(background, strings.Repeat("x", 1<<10), 70, "")
			return err
		}, []error{kerrors.ErrRemoteOrNetwork}, []error{kerrors.ErrGetConnection}, "too large", 0},
		{"garbage in a good frame", one, []client.Option{client.WithPayloadCodec(garblingCodec{thrift.NewThriftCodec()})}, func(_ *testing.T, f *muxFixture) error {
			_, err := f.client.Repeat(background, "x", 1, "")
			return err
		}, []error{kerrors.ErrRemoteOrNetwork}, []error{kerrors.ErrGetConnection, netpoll.ErrConnClosed}, "", 0},
		{"pool closed with a call in flight", one, nil, func(t *testing.T, f *muxFixture) error {
			done := f.held(background, t)
			if err := f.pool.Close(); err != nil {
				t.Error(err)
			}
			return receive(t, "call", done)
		}, []error{kerrors.ErrRemoteOrNetwork, netpoll.ErrConnClosed, mux.ErrClosed}, []error{kerrors.ErrGetConnection}, "waiting for the reply", 1},
		{"pool closed", one, nil, func(t *testing.T, f *muxFixture) error {
			if err := f.pool.Close(); err != nil {
				t.Error(err)
			}
			_, err := f.client.Find(background, "x")
			return err
		}, []error{kerrors.ErrGetConnection, pool.ErrClosed}, []error{kerrors.ErrRPCTimeout}, "", 0},
	}
}

// TestMuxErrors checks what Kitex's users see of each failure, and how often the call was made.
func TestMuxErrors(t *testing.T) {
	captureLogs(t)
	for _, tc := range muxFailures() {
		t.Run(tc.name, func(t *testing.T) {
			service := newHeldService()
			defer close(service.release)
			f := &muxFixture{service: service}
			f.wire = newWire(t, startService(t, newTestGroup(t), service).address)
			suite := client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)), WithMux(tc.cfg)))
			opts := append([]client.Option{suite}, tc.opts...)
			if strings.HasSuffix(tc.name, "Kitex's") {
				opts[1] = client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)), WithMux(tc.cfg), WithKitexTimeouts()))
				opts = opts[1:]
			}
			c, o := newEcho(t, f.wire.address(), opts...)
			keep(t, c)
			f.client, f.pool = c, o.RemoteOpt.ConnPool.(*pool.Mux)
			if tc.name != "garbage in a good frame" {
				share(t, c, f.pool)
			}
			err := tc.call(t, f)
			for _, want := range tc.is {
				if !errors.Is(err, want) {
					t.Errorf("got %v, which is not %v", err, want)
				}
			}
			for _, other := range tc.not {
				if errors.Is(err, other) {
					t.Errorf("got %v, which is %v", err, other)
				}
			}
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %q in it", err, tc.text)
			}
			if problem := textProblem(err); problem != "" {
				t.Errorf("got %q, %s", err, problem)
			}
			if got := service.calls.Load(); got != tc.runs {
				t.Errorf("the handler ran %d times, want %d", got, tc.runs)
			}
			eventually(t, "no calls are left", func() bool { // Kitex's goroutines may end later
				st := f.pool.Stats()
				return st.InFlight+st.Waiting == 0
			})
		})
	}
}

// textProblem returns what is missing in an error's text for a reader who sees neither its Op nor
// its NotSent; "" if nothing is.
func textProblem(err error) string {
	var failed *mux.Error
	if !errors.As(err, &failed) {
		return ""
	}
	var frame *mux.FrameError
	ours, unsent := errors.As(err, &frame) && !frame.Received, isAttemptNotSent(failed)
	phase := map[string]string{"begin": "waiting for a place", "send": "being sent", "receive": "waiting for the reply"}[failed.Op]
	for text, want := range map[string]bool{
		phase:                true,
		"not sent":           unsent,
		"safe to retry":      failed.NotSent() && !ours,
		"another attempt":    unsent && failed.SentBefore,
		"may have run":       !unsent,
		failed.Addr.String(): true,
	} {
		if strings.Contains(err.Error(), text) != want {
			return fmt.Sprintf("%q in it: want %v", text, want)
		}
	}
	return ""
}

// TestMuxRetriesUnsent: calls that got no connection go to another instance.
func TestMuxRetriesUnsent(t *testing.T) {
	captureLogs(t)
	svc := startService(t, newTestGroup(t), &serviceFuncs{})
	refused := refusedAddress(t)
	c, o := newEcho(t, refused, client.WithSuite(NewMuxClientSuite(WithGroup(newTestGroup(t)))))
	_, err := c.Repeat(context.Background(), "x", 1, "")
	if !errors.Is(err, kerrors.ErrGetConnection) || errors.Is(err, kerrors.ErrRPCTimeout) {
		t.Errorf("got %v, want no connection", err)
	}
	if st := o.RemoteOpt.ConnPool.(*pool.Mux).Stats(); len(st.Addresses) != 1 || st.DialErrors == 0 {
		t.Errorf("got %+v, want failed dials", st)
	}
	both, conns := newBalancedClient(t, refused, svc.address)
	failed := 0
	for range 100 {
		if _, err := both.Repeat(context.Background(), "x", 1, ""); err != nil {
			failed++ // six tries at the instance that refuses
		}
	}
	if failed > 20 || len(conns.Stats().Addresses) != 2 {
		t.Errorf("%d of 100 calls failed, at %d addresses", failed, len(conns.Stats().Addresses))
	}
}
