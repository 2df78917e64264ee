package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/trans/netpollmux"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// TestClientSuiteKeepsMux calls concurrently over Kitex's multiplexed
// connections, which need Kitex's handlers on both sides.
func TestClientSuiteKeepsMux(t *testing.T) {
	captureLogs(t)
	g := newTestGroup(t)
	address := startEcho(t, g, server.WithMuxTransport())
	for name, opts := range map[string][]client.Option{
		"suite first": {client.WithSuite(NewClientSuite(WithGroup(g))), client.WithMuxConnection(1)},
		"mux first":   {client.WithMuxConnection(1), client.WithSuite(NewClientSuite(WithGroup(g)))},
		"mux between": {client.WithSuite(NewClientSuite(WithGroup(g))), client.WithMuxConnection(1), client.WithSuite(NewClientSuite(WithGroup(g)))},
	} {
		t.Run(name, func(t *testing.T) {
			c, o := newEcho(t, address, append(opts, client.WithRPCTimeout(time.Second))...)
			if _, ok := o.RemoteOpt.ConnPool.(*netpollmux.MuxPool); !ok {
				t.Errorf("pool: got %T, want Kitex's for mux", o.RemoteOpt.ConnPool)
			}
			if got, want := fmt.Sprintf("%T", o.RemoteOpt.CliHandlerFactory), "*netpollmux.cliTransHandlerFactory"; got != want {
				t.Errorf("handlers: got %s, want %s", got, want)
			}
			if _, ok := o.RemoteOpt.Dialer.(*dialer); !ok {
				t.Errorf("dialer: got %T, want Kiteline's", o.RemoteOpt.Dialer)
			}
			var callers sync.WaitGroup
			for i := range 8 {
				callers.Go(func() {
					for n := range 20 {
						want := fmt.Sprintf("%d/%d", i, n)
						got, err := c.Repeat(context.Background(), want, 1, "")
						if err != nil || got != want {
							t.Errorf("got %q, %v, want %q", got, err, want)
							return
						}
					}
				})
			}
			callers.Wait()
		})
	}
}

// TestPoolsInDiagnosis: the options that Kitex's diagnosis shows name the pool that a suite has
// made, with its configuration, and none where another is used.
func TestPoolsInDiagnosis(t *testing.T) {
	g := newTestGroup(t)
	given := pool.New("echo", pool.Config{})
	for name, tc := range map[string]struct {
		opts []client.Option
		want string // "" for no pool of a suite
	}{
		"pooled":        {[]client.Option{client.WithSuite(NewClientSuite(WithGroup(g), WithPool(pool.Config{MaxConnsPerAddress: 7})))}, "kiteline/pool.Pool({"},
		"shared":        {[]client.Option{client.WithSuite(NewMuxClientSuite(WithGroup(g), WithMux(pool.MuxConfig{MaxConns: 7})))}, "kiteline/pool.Mux({"},
		"a pool before": {[]client.Option{client.WithConnPool(given), client.WithSuite(NewClientSuite(WithGroup(g)))}, ""},
	} {
		_, o := newEcho(t, "127.0.0.1:1", tc.opts...)
		text := fmt.Sprint(o.DebugInfo)
		_, after, shown := strings.Cut(text, "kiteline/pool.")
		if shown != (tc.want != "") || shown && (!strings.Contains(text, tc.want) || !strings.Contains(after, ":7 ")) {
			t.Errorf("%s: no %q in %s", name, tc.want, text)
		}
	}
}

// TestMuxNeedsItsSuite: a client with a pool.Mux and without handlers for its calls fails when
// it is made.
func TestMuxNeedsItsSuite(t *testing.T) {
	t.Parallel()
	g := newTestGroup(t)
	conns := pool.NewMux("echo", pool.MuxConfig{})
	defer conns.Close()
	given := client.WithConnPool(conns)
	pooled, shared := client.WithSuite(NewClientSuite(WithGroup(g))), client.WithSuite(NewMuxClientSuite(WithGroup(g)))
	for _, tc := range []struct {
		name string
		opts []client.Option
		want string // in the error; "" for none
	}{
		{"suite, pool", []client.Option{pooled, given}, "NewMuxClientSuite"},
		{"pool, suite", []client.Option{given, pooled}, "NewMuxClientSuite"},
		{"handlers alone", []client.Option{client.WithTransHandlerFactory(NewClientTransHandlerFactory()), given}, "NewMuxClientSuite"},
		{"a codec", []client.Option{shared, given, client.WithCodec(markingCodec{codec.NewDefaultCodec()})}, "WithCodec"},
		{"the suite for it", []client.Option{shared, given}, ""},
	} {
		_, err := echoservice.NewClient("echo", append(tc.opts, client.WithHostPorts("127.0.0.1:1"))...)
		wantError(t, tc.name, err, tc.want)
	}
}

// TestMuxCleanRace removes an address while calls to it begin. No call fails, and nothing is
// left when the pool is closed.
func TestMuxCleanRace(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	svc := startService(t, newTestGroup(t), &serviceFuncs{})
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{})
	share(t, c, conns)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for range 50 {
				if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		conns.Clean("tcp", svc.address)
		if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
			t.Error(err)
		}
	}
	callers.Wait()
	if err := conns.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Repeat(context.Background(), "x", 1, ""); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("got %v, want pool.ErrClosed", err)
	}
}
