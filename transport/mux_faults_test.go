package transport

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/transport/pool"
)

// wildCodec panics or fails in the middle of a message while it is told to.
type wildCodec struct {
	remote.Codec
	panics, fails atomic.Bool
}

func (c *wildCodec) Encode(ctx context.Context, m remote.Message, out remote.ByteBuffer) error {
	if err := wild(&c.panics, &c.fails, out); err != nil {
		return err
	}
	return c.Codec.Encode(ctx, m, out)
}

// wildPayload is a wildCodec for payloads.
type wildPayload struct {
	remote.PayloadCodec
	panics, fails atomic.Bool
}

func (c *wildPayload) Marshal(ctx context.Context, m remote.Message, out remote.ByteBuffer) error {
	if err := wild(&c.panics, &c.fails, out); err != nil {
		return err
	}
	return c.PayloadCodec.Marshal(ctx, m, out)
}

func wild(panics, fails *atomic.Bool, out remote.ByteBuffer) error {
	if !panics.Load() && !fails.Load() {
		return nil
	}
	if _, err := out.WriteString("half a message"); err != nil {
		return err
	}
	if _, err := out.Malloc(100); err != nil {
		return err
	}
	if panics.Load() {
		panic("wild codec")
	}
	return errors.New("wild codec fails")
}

// TestMuxServerCodecFails has a server's codec panic or fail on replies, error replies included.
// Each caller gets an error, and the connection goes on with its other calls.
func TestMuxServerCodecFails(t *testing.T) {
	logged := captureLogs(t)
	whole := &wildCodec{Codec: codec.NewDefaultCodec()}
	payload := &wildPayload{PayloadCodec: thrift.NewThriftCodec()}
	for _, tc := range []struct {
		name string
		flag *atomic.Bool
		opt  server.Option
	}{
		{"codec panics", &whole.panics, server.WithCodec(whole)},
		{"codec fails", &whole.fails, server.WithCodec(whole)},
		{"payload codec panics", &payload.panics, server.WithPayloadCodec(payload)},
		{"payload codec fails", &payload.fails, server.WithPayloadCodec(payload)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			service := newHeldService()
			svc := startService(t, newTestGroup(t), service, tc.opt)
			c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
			share(t, c, conns)
			f := &muxFixture{client: c, pool: conns, service: service}
			done := f.held(context.Background(), t)
			tc.flag.Store(true)
			for range 3 {
				_, err := c.Repeat(context.Background(), "x", 1, "")
				if !errors.Is(err, kerrors.ErrRemoteOrNetwork) || errors.Is(err, netpoll.ErrConnClosed) || !strings.Contains(err.Error(), "wild codec") {
					t.Errorf("got %v, want the codec's failure", err)
				}
			}
			tc.flag.Store(false)
			close(service.release)
			if err := receive(t, "held call", done); err != nil {
				t.Error(err)
			}
			if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
				t.Error(err)
			}
			if st := onlyStats(t, conns); st.Dials != 1 || st.Connections != 1 || st.InFlight != 0 {
				t.Errorf("got %+v, want the one connection", st)
			}
			if logged.lines("bad frame") > 0 {
				t.Error("the reply had the rest of the other in front")
			}
		})
	}
}

// TestMuxReplyTooLong: a reply that is longer than the server allows fails its call and no other.
func TestMuxReplyTooLong(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	service := newHeldService()
	group := newTestGroup(t)
	svc := startService(t, group, service, server.WithSuite(NewServerSuite(WithGroup(group), WithMuxServer(MuxServerConfig{MaxFrameBytes: 64 << 10}))))
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	f := &muxFixture{client: c, pool: conns, service: service}
	done := f.held(context.Background(), t)
	for _, kib := range []int32{70, 1 << 10, 60} {
		_, err := c.Repeat(context.Background(), strings.Repeat("x", 1<<10), kib, "")
		switch known := new(remote.TransError); {
		case kib < 64 && err != nil:
			t.Error(err)
		case kib < 64:
		case !errors.Is(err, kerrors.ErrRemoteOrNetwork) || !errors.As(err, &known) || errors.Is(err, kerrors.ErrGetConnection):
			t.Errorf("got %v, want the server's exception", err)
		case !strings.Contains(err.Error(), "too large"):
			t.Errorf("got %v, want it to say why", err)
		}
	}
	close(service.release)
	if err := receive(t, "held call", done); err != nil {
		t.Error(err)
	}
	if st := onlyStats(t, conns); st.Dials != 1 || st.Connections != 1 {
		t.Errorf("got %+v, want the one connection", st)
	}
}

// TestMuxFrameLimits checks what the options amount to.
func TestMuxFrameLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		payload int // WithMaxFrame
		frame   int // of pool.MuxConfig and MuxServerConfig
		want    int
	}{
		"default":              {0, 0, defaultMuxFrameBytes},
		"mux":                  {0, 1 << 20, 1 << 20},
		"payload":              {1 << 20, 0, defaultMuxFrameBytes},
		"large payload":        {100 << 20, 0, 100<<20 + headerRoom},
		"greatest payload":     {math.MaxInt, 0, math.MaxInt},
		"payload without":      {-1, 0, defaultMuxFrameBytes},
		"mux wins":             {100 << 20, 1 << 20, 1 << 20},
		"negative is not said": {0, -1, defaultMuxFrameBytes},
	} {
		s := newClientSettings(takerMuxClientSuite, []ClientOption{WithMaxFrame(tc.payload), WithMux(pool.MuxConfig{MaxFrameBytes: tc.frame})})
		if got := (muxClientSuite{s}).poolConfig(nil).MaxFrameBytes; got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
	s := muxClientSuite{newClientSettings(takerMuxClientSuite, []ClientOption{WithMux(pool.MuxConfig{MaxFrameBytes: 5}), WithWriteTimeout(time.Hour)})}
	if got := s.poolConfig(nil); got.MaxFrameBytes != 5 || got.WriteTimeout != time.Hour {
		t.Errorf("got %+v, want what WithMux says and the write timeout", got)
	}
}

// TestMuxCancelledHandlers: with CancelHandlers, handlers' contexts end when their client goes, in
// whichever way. Without it they go on, as Kitex's do.
func TestMuxCancelledHandlers(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	for _, cancels := range []bool{true, false} {
		t.Run(fmt.Sprint(cancels), func(t *testing.T) {
			t.Parallel()
			began, release := make(chan context.Context, 10), make(chan struct{})
			service := &serviceFuncs{find: func(ctx context.Context, key string) (*echo.Message, error) {
				began <- ctx
				<-release
				return &echo.Message{Text: key}, nil
			}}
			opts := []ServerOption{WithGroup(newTestGroup(t))}
			if cancels {
				opts = append(opts, WithMuxServer(MuxServerConfig{CancelHandlers: true}))
			}
			svc := startService(t, newTestGroup(t), service, server.WithSuite(NewServerSuite(opts...)))
			w := newWire(t, svc.address)
			c, conns := newSharedClient(t, w.address(), pool.MuxConfig{MaxConns: 1})
			share(t, c, conns)
			done := make(chan error, 2)
			for _, key := range []string{"a", "b"} {
				go func() {
					_, err := c.Find(context.Background(), key)
					done <- err
				}()
			}
			first, second := receive(t, "handler", began), receive(t, "handler", began)
			if first.Err() != nil || second.Err() != nil {
				t.Errorf("%v and %v before anything has happened", first.Err(), second.Err())
			}
			w.cut()
			for range 2 {
				if err := receive(t, "call", done); err == nil {
					t.Error("a call outlived its connection")
				}
			}
			if cancels {
				receive(t, "cancellation", first.Done())
				receive(t, "cancellation", second.Done())
				if first.Err() != context.Canceled {
					t.Errorf("got %v, want %v", first.Err(), context.Canceled)
				}
			} else if first.Done() != nil {
				t.Error("a context can end that Kitex's cannot")
			}
			close(release)
		})
	}
}

// TestMuxCancelledCall: with CancelHandlers, the context of a handler ends when its caller has
// left. No other context ends, and the connection goes on.
func TestMuxCancelledCall(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	type call struct {
		key string
		ctx context.Context
	}
	began, release := make(chan call, 10), make(chan struct{})
	service := &serviceFuncs{find: func(ctx context.Context, key string) (*echo.Message, error) {
		began <- call{key, ctx}
		<-release
		return &echo.Message{Text: key}, nil
	}}
	svc := startService(t, newTestGroup(t), service, server.WithSuite(NewServerSuite(WithGroup(newTestGroup(t)),
		WithMuxServer(MuxServerConfig{CancelHandlers: true}))))
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	contexts, done := map[string]context.Context{}, make(chan error, 1)
	ctx, leave := context.WithCancel(context.Background())
	left := make(chan error, 1)
	for _, key := range []string{"stays", "leaves"} {
		go func() {
			if key == "stays" {
				_, err := c.Find(context.Background(), key)
				done <- err
				return
			}
			_, err := c.Find(ctx, key)
			left <- err
		}()
		b := receive(t, "handler", began)
		contexts[b.key] = b.ctx
	}
	leave()
	if err := receive(t, "leaving call", left); err == nil {
		t.Error("a call was answered whose context had ended")
	}
	receive(t, "cancellation", contexts["leaves"].Done())
	if err := contexts["stays"].Err(); err != nil {
		t.Errorf("another call's context ended: %v", err)
	}
	close(release)
	if err := receive(t, "other call", done); err != nil {
		t.Error(err)
	}
	eventually(t, "the slot of the call was free", func() bool {
		st := onlyStats(t, conns)
		return st.InFlight == 0 && st.Abandoned == 0 && st.Connections == 1 && st.Dials == 1
	})
}

// TestStockMuxOversized: the server answers a request of Kitex's own multiplexing client that is
// too long with an exception, and the calls that share its connection go on.
func TestStockMuxOversized(t *testing.T) {
	needNetpoll(t)
	t.Parallel()
	captureLogs(t)
	service := newHeldService()
	defer service.letGo()
	svc := startService(t, newTestGroup(t), service, server.WithSuite(NewServerSuite(WithGroup(newTestGroup(t)),
		WithMuxServer(MuxServerConfig{MaxFrameBytes: 64 << 10}))))
	c, _ := newEcho(t, svc.address, client.WithTransportProtocol(kitextransport.TTHeader), client.WithMuxConnection(1),
		client.WithRPCTimeout(30*time.Second))
	held := make(chan error, 1)
	go func() {
		_, err := c.Find(context.Background(), "held")
		held <- err
	}()
	receive(t, "handler", service.began)
	for _, size := range []int{65 << 10, 5 << 20} {
		_, err := c.EchoPayload(context.Background(), &echo.Payload{Data: make([]byte, size)})
		if err == nil || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%d bytes: got %v, want the server's exception", size, err)
		}
	}
	service.letGo()
	if err := receive(t, "held call", held); err != nil {
		t.Errorf("a neighbour's call: %v", err)
	}
}
