package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/retry"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// dawdle echoes after about a millisecond.
func dawdle(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
	<-time.After(time.Duration(rand.Int64N(int64(2 * time.Millisecond))))
	return p, nil
}

// TestMuxLateReplies has calls end at about the time their replies come. Each gets its own reply or
// an error, never the reply of an earlier call.
func TestMuxLateReplies(t *testing.T) {
	for name, opts := range map[string][]ClientOption{"ours": nil, "Kitex's": {WithKitexTimeouts()}} {
		t.Run(name, func(t *testing.T) {
			svc := startService(t, newTestGroup(t), &serviceFuncs{payload: dawdle})
			all := append([]ClientOption{WithGroup(newTestGroup(t)), WithMux(pool.MuxConfig{MaxConns: 2})}, opts...)
			c, o := newEcho(t, svc.address, client.WithSuite(NewMuxClientSuite(all...)))
			keep(t, c)
			conns := o.RemoteOpt.ConnPool.(*pool.Mux)
			share(t, c, conns)
			for limit := 4 * time.Millisecond; ; limit *= 2 {
				answered, late := callInTime(t, c, limit)
				if answered > 0 && late > 0 {
					break
				}
				if limit > patience {
					t.Fatalf("%d calls answered, %d late: nothing was tried", answered, late)
				}
			}
			eventually(t, "all late replies came", func() bool {
				st := onlyStats(t, conns)
				return st.InFlight == 0 && st.Abandoned == 0
			})
			if st := onlyStats(t, conns); st.Deaths != 0 || st.Shared == 0 {
				t.Errorf("got %+v, want the connections to last", st)
			}
		})
	}
}

// callInTime has 50 callers make calls with timeouts up to limit, and returns how many were
// answered and how many timed out.
func callInTime(t *testing.T, c echoservice.Client, limit time.Duration) (answered, late int64) {
	t.Helper()
	var counts [2]atomic.Int64
	var callers sync.WaitGroup
	for caller := range 50 {
		callers.Go(func() {
			for i := range 40 {
				label := fmt.Sprint(caller, "/", i, strings.Repeat("x", rand.IntN(100)))
				timeout := time.Duration(rand.Int64N(int64(limit))) + 1
				p, err := c.EchoPayload(context.Background(), &echo.Payload{Label: label}, callopt.WithRPCTimeout(timeout))
				switch {
				case err == nil && p.Label == label:
					counts[0].Add(1)
				case errors.Is(err, kerrors.ErrRPCTimeout):
					counts[1].Add(1)
				default:
					t.Errorf("%.20q: got %.20q, %v", label, labelOf(p), err)
				}
			}
		})
	}
	callers.Wait()
	return counts[0].Load(), counts[1].Load()
}

// TestMuxTimeoutOnCaller: no call runs on a goroutine of its own.
func TestMuxTimeoutOnCaller(t *testing.T) {
	service := newHeldService()
	defer close(service.release)
	svc := startService(t, newTestGroup(t), service)
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1}, client.WithRPCTimeout(patience))
	share(t, c, conns)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := runtime.NumGoroutine()
	const calls = 20
	var callers sync.WaitGroup
	for range calls {
		callers.Go(func() {
			if _, err := c.Find(ctx, "x"); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
	for range calls {
		receive(t, "handler", service.began)
	}
	memory := make([]byte, 4<<20)
	var stacks []byte
	// A handler may begin before its caller waits.
	eventually(t, "each caller waits for its reply", func() bool {
		stacks = memory[:runtime.Stack(memory, true)]
		return bytes.Count(stacks, []byte("transport.(*muxClientHandler).Read(")) == calls
	})
	if n := bytes.Count(stacks, []byte("client.rpcTimeoutMW.func1.2.1")); n > 0 {
		t.Errorf("%d goroutines of Kitex's middleware for timeouts (%d goroutines, %d before)", n, runtime.NumGoroutine(), before)
	}
	cancel()
	callers.Wait()
}

// TestMuxRetries: failure retry and backup requests make up for slow replies.
func TestMuxRetries(t *testing.T) {
	captureLogs(t)
	for name, tc := range map[string]struct {
		opt     client.Option
		timeout time.Duration
	}{
		"failure retry":  {client.WithFailureRetry(retry.NewFailurePolicy()), 50 * time.Millisecond},
		"backup request": {client.WithBackupRequest(retry.NewBackupPolicy(10)), patience},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int64
			release := make(chan struct{})
			svc := startService(t, newTestGroup(t), &serviceFuncs{payload: func(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
				if tries.Add(1) == 1 {
					<-release
				}
				return p, nil
			}})
			c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1}, tc.opt, client.WithRPCTimeout(tc.timeout))
			share(t, c, conns)
			p, err := c.EchoPayload(context.Background(), &echo.Payload{Label: "mine"})
			if err != nil || p.Label != "mine" || tries.Load() != 2 {
				t.Errorf("got %v, %v after %d tries, want two", p, err, tries.Load())
			}
			close(release)
			eventually(t, "the late reply came", func() bool {
				st := onlyStats(t, conns)
				return st.InFlight == 0 && st.Abandoned == 0
			})
		})
	}
}

// TestMuxAbandonedRequest has a call end while its request is half written. What the caller then
// does to the request's memory, which may come from a pool, must not reach the peer.
func TestMuxAbandonedRequest(t *testing.T) {
	service := newHeldService()
	changed := make(chan int, 1)
	service.payload = func(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
		changed <- bytes.Count(p.Data, []byte{'b'})
		return &echo.Payload{}, nil
	}
	// A server does not read a connection on which a oneway finds no room.
	notified := make(chan struct{}, 10)
	service.notify = func(context.Context, *echo.Message) error {
		notified <- struct{}{}
		<-service.release
		return nil
	}
	g := newTestGroup(t)
	svc := startService(t, g, service, server.WithSuite(NewServerSuite(WithGroup(g), WithMuxServer(MuxServerConfig{MaxHandlers: 1}), WithMaxFrame(64<<20))))
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	for range 2 {
		if err := c.Notify(context.Background(), &echo.Message{}); err != nil {
			t.Fatal(err)
		}
	}
	receive(t, "oneway", notified)
	data := bytes.Repeat([]byte{'a'}, 32<<20) // more than sockets take
	_, err := c.EchoPayload(context.Background(), &echo.Payload{Data: data}, callopt.WithRPCTimeout(100*time.Millisecond))
	if !errors.Is(err, kerrors.ErrRPCTimeout) {
		t.Errorf("got %v, want a timeout", err)
	}
	for i := range data {
		data[i] = 'b'
	}
	close(service.release)
	eventually(t, "the request came, was dropped, or its connection ended", func() bool {
		select {
		case n := <-changed:
			if n > 0 {
				t.Errorf("%d bytes came that were written into the request's memory after the call had ended", n)
			}
			return true
		default:
			st := onlyStats(t, conns)
			return st.Connections == 0 || st.InFlight == 0 && st.Abandoned == 0
		}
	})
}
