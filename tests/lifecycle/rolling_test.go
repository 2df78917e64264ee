package lifecycle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

const maxHandlerMillis = 50

// instance is one of a service's servers: it comes back at the same address, on any transport.
type instance struct {
	t         *testing.T
	addr      net.Addr
	exitWait  time.Duration // if not zero, the server is expected to need all of it
	server    *harness.Server
	replies   [2]atomic.Int64 // of this server, not its predecessors, to calls of each half
	lastReply atomic.Int64    // when a handler last returned, in nanoseconds
}

func startInstance(t *testing.T, tr harness.Transport, exitWait time.Duration) *instance {
	t.Helper()
	ln := harness.Listen(t, "tcp")
	i := &instance{t: t, addr: ln.Addr(), exitWait: exitWait}
	i.serve(tr, ln)
	return i
}

func (i *instance) serve(tr harness.Transport, ln net.Listener) {
	i.t.Helper()
	cfg := harness.ServerConfig{
		Transport: tr, Listener: ln, New: harness.NewEcho(&harness.Service{OnEcho: i.echo}),
		Options: []server.Option{server.WithMetaHandler(transmeta.ServerTTHeaderHandler)},
	}
	if i.exitWait > 0 {
		cfg.ForcedStop = true
		cfg.Options = append(cfg.Options, server.WithExitWaitTime(i.exitWait))
	}
	i.server = harness.Start(i.t, cfg)
	for n := range i.replies {
		i.replies[n].Store(0)
	}
}

// echo answers after the delay that the call asks for.
func (i *instance) echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	timer := time.NewTimer(time.Duration(r.DelayMillis) * time.Millisecond)
	defer timer.Stop()
	<-timer.C
	i.lastReply.Store(time.Now().UnixNano())
	if n, err := strconv.Atoi(r.Message.Text); err == nil {
		i.replies[half(n)].Add(1)
	}
	return &echo.EchoResponse{Message: r.Message}, nil
}

// half returns which half of the calls the nth belongs to. Kitex's balancer sends every second call
// to the same one of two servers: each server gets calls of both halves.
func half(n int) int { return n / 2 % 2 }

// isUsed reports whether the server has answered some calls of each half.
func (i *instance) isUsed(some int64) bool {
	return i.replies[0].Load() >= some && i.replies[1].Load() >= some
}

// restart stops the server and starts one on tr in its place. It returns how long after its last
// reply the old one was gone, without the time that this process waited for a processor.
func (i *instance) restart(tr harness.Transport) (exit time.Duration) {
	i.t.Helper()
	watch := harness.StartStopwatch()
	i.server.MustStop()
	exit = time.Since(time.Unix(0, i.lastReply.Load())) - watch.Kept()
	i.serve(tr, harness.ListenAgain(i.t, i.addr))
	return exit
}

// announced has a client of TTHeader read what Kitex's servers announce in their replies: that they
// are about to go.
func announced() client.Option { return client.WithMetaHandler(transmeta.ClientTTHeaderHandler) }

// newBalanced makes a client of all instances, over TTHeader. attempts counts each attempt of
// a call: Kitex makes a call that got no connection again on another instance
// (client/middlewares.go, retryable), although no retry policy is set.
func newBalanced(t *testing.T, tr harness.Transport, attempts *atomic.Int64, instances []*instance, opts ...client.Option) echoservice.Client {
	t.Helper()
	var addrs []string
	for _, i := range instances {
		addrs = append(addrs, i.addr.String())
	}
	all := []client.Option{
		client.WithHostPorts(addrs...),
		client.WithTransportProtocol(transport.TTHeader),
		client.WithInstanceMW(func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req, resp any) error {
				attempts.Add(1)
				return next(ctx, req, resp)
			}
		}),
	}
	return harness.EchoClient(t, tr, nil, append(all, opts...)...)
}

// callDelayed makes a call that takes the server up to maxHandlerMillis, and checks the answer.
func callDelayed(cli echoservice.Client, n int) error {
	request := &echo.EchoRequest{Message: &echo.Message{Text: fmt.Sprint(n)}, DelayMillis: rand.Int32N(maxHandlerMillis + 1)}
	got, err := cli.Echo(context.Background(), request)
	if err != nil {
		return err
	}
	if got.Message.Text != request.Message.Text {
		return fmt.Errorf("call %d got the answer to %q", n, got.Message.Text)
	}
	return nil
}

// rollout returns how often servers are restarted and how many calls are made a second.
func rollout() (restarts, rate int) {
	return testkit.Scale(3, 20), testkit.Scale(500, 2000)
}

// rollingRestart restarts one of two servers under load again and again, and returns the results.
func rollingRestart(t *testing.T, clientOn harness.Transport, exitWait time.Duration, opts ...client.Option) (load *harness.Load, failed int) {
	t.Helper()
	exitInTime := exitWait + 200*time.Millisecond*testkit.Slowdown
	steady := startInstance(t, harness.Kiteline, 0)
	restarted := startInstance(t, harness.Kiteline, exitWait)
	var attempts atomic.Int64
	cli := newBalanced(t, clientOn, &attempts, []*instance{steady, restarted}, opts...)
	restarts, rate := rollout()
	load = harness.StartLoad(t, rate, func(n int) error { return callDelayed(cli, n) })
	for n := range restarts {
		testkit.Eventually(t, "the restarted server is used", func() bool { return restarted.isUsed(int64(rate / 40)) })
		exit := restarted.restart(harness.Kiteline)
		t.Logf("restart %d: gone %v after the last reply", n, exit)
		if exit > exitInTime {
			t.Errorf("restart %d: the server was gone %v after its last reply, want %v at most", n, exit, exitInTime)
		}
	}
	testkit.Eventually(t, "the restarted server is used", func() bool { return restarted.isUsed(1) })
	calls, failed := load.Stop()
	t.Logf("%v\n%d tries more than calls, on another instance since they got no connection", load, attempts.Load()-int64(calls))
	return load, failed
}

// beside runs a test under load beside others, unless the race detector makes it need the machine
// for itself.
func beside(t *testing.T) {
	t.Helper()
	if !testkit.Race {
		t.Parallel()
	}
}

// A server that is restarted under load costs no call of a multiplexing client, without a retry
// policy: the client learns that the server is about to go, whether or not Kitex announces that,
// finishes its calls there, and dials the next. It relies on Kitex trying the other instance for a
// call that gets no connection, because nothing listens while the server is away.
func TestRollingRestart(t *testing.T) {
	beside(t)
	for name, opts := range map[string][]client.Option{"announced": {announced()}, "not announced": nil} {
		t.Run(name, func(t *testing.T) {
			beside(t)
			load, failed := rollingRestart(t, harness.KitelineMux, 0, opts...)
			if failed > 0 {
				t.Errorf("got failed calls, want none: %v", load)
			}
		})
	}
}

// A stock client that multiplexes does not learn that a server is about to go: Kitex's message for
// that makes the client panic (netpollmux/mux_conn.go, OnRequest). So it goes on sending, and is
// served until ExitWaitTime is over. Then the calls in flight fail, and no others.
func TestRollingRestartOfStockMuxClient(t *testing.T) {
	if testkit.Race {
		t.Skip("Kitex's client reconnects with a data race (netpollmux/mux_pool.go, put and get)")
	}
	load, failed := rollingRestart(t, harness.NetpollMux, 300*time.Millisecond, announced())
	restarts, rate := rollout()
	inFlight := rate * maxHandlerMillis / 1000 // of both servers at a time, at most
	if failed > restarts*inFlight {
		t.Errorf("got %d failed calls, want no more than are in flight at the restarts, %d: %v", failed, restarts*inFlight, load)
	}
}

// One of two servers goes as soon as the other is back. There is always one that serves. But a
// client that was refused by the first pauses for some milliseconds (mux.Config.BackoffMax), and
// meanwhile the second is gone: no call may fail after that.
func TestRestartOneAfterTheOther(t *testing.T) {
	beside(t)
	const rate = 500
	first, second := startInstance(t, harness.Kiteline, 0), startInstance(t, harness.Kiteline, 0)
	var attempts atomic.Int64
	cli := newBalanced(t, harness.KitelineMux, &attempts, []*instance{first, second}, announced())
	load := harness.StartLoad(t, rate, func(n int) error { return callDelayed(cli, n) })
	testkit.Eventually(t, "both servers are used", func() bool { return first.isUsed(5) && second.isUsed(5) })
	first.server.MustStop()
	seen := load.Ended()
	testkit.Eventually(t, "the second alone has served for a second", func() bool { return load.Ended() > seen+rate })
	first.serve(harness.Kiteline, harness.ListenAgain(t, first.addr))
	second.server.MustStop()
	testkit.Eventually(t, "the first is used", func() bool { return first.isUsed(rate / 20) })
	const pause = 100 * time.Millisecond // twice the longest pause, and the time of a stop
	if _, failed := load.Stop(); failed > int(rate*pause/time.Second) {
		t.Errorf("got %d failed calls, want no more than are made in %v: %v", failed, pause, load)
	}
}
