package mux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/pool"
)

const (
	stalledCallers = 300
	stalledTimeout = time.Second

	// inTime is how late hundreds of calls that end at the same time may end.
	inTime = 500 * time.Millisecond * testkit.Slowdown

	// perCaller is what a waiting call may hold besides the bytes that are bounded: what Kitex, the
	// timer and the test itself keep for it.
	perCaller = 8 << 10
)

// callStalled lets many callers make one call each to a peer that does not answer, and checks that
// each gets the timeout error in time. It returns the most memory that was in use meanwhile, and
// what a caller of another instance saw.
func callStalled(t *testing.T, cli echoservice.Client, request *echo.EchoRequest, healthy net.Addr) (peak int64) {
	t.Helper()
	done, stop := make(chan struct{}), make(chan struct{})
	var others sync.WaitGroup
	var unharmed []time.Duration
	others.Go(func() {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			began := time.Now()
			if err := callText(cli, fmt.Sprint(n), callopt.WithHostPort(healthy.String())); err != nil {
				t.Errorf("a call to another instance: %v", err)
				return
			}
			unharmed = append(unharmed, time.Since(began))
		}
	})
	errs, took := make([]error, stalledCallers), make([]time.Duration, stalledCallers)
	watch := harness.StartStopwatch()
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for n := range stalledCallers {
			wg.Go(func() {
				began := time.Now()
				_, errs[n] = cli.Echo(context.Background(), request)
				took[n] = time.Since(began)
			})
		}
		wg.Wait()
	}()
	peak = harness.PeakHeap(done)
	close(stop)
	others.Wait()
	for n, err := range errs {
		if !errors.Is(err, kerrors.ErrRPCTimeout) {
			t.Errorf("call %d: got %v after %v, want a timeout", n, err, took[n])
			break
		}
	}
	late := testkit.Percentile(took, 100) - stalledTimeout
	t.Logf("the last call ended %v late; %d calls to another instance: p50 %v, p99 %v, slowest %v", late,
		len(unharmed), testkit.Percentile(unharmed, 50), testkit.Percentile(unharmed, 99), testkit.Percentile(unharmed, 100))
	most := inTime + watch.Kept()
	if late > most {
		t.Errorf("the last call ended %v late, want %v at most", late, most)
	}
	if slowest := testkit.Percentile(unharmed, 100); slowest > most {
		t.Errorf("a call to another instance took %v, want %v at most", slowest, most)
	}
	return peak
}

// checkMemory fails the test if more than bound and a tenth was in use besides the callers' own
// memory.
func checkMemory(t *testing.T, before, peak, bound int64) {
	t.Helper()
	used, most := peak-before, bound+bound/10+stalledCallers*perCaller
	t.Logf("%d KiB of memory in use, bounds of %d KiB, and %d KiB for callers", used>>10, bound>>10, stalledCallers*perCaller>>10)
	if _, checked := buffer.Outstanding(); checked {
		return // checks need memory of their own around every block
	}
	if used > most {
		t.Errorf("%d KiB of memory in use, want %d KiB at most", used>>10, most>>10)
	}
}

// checkClose fails the test if closing takes long.
func checkClose(t *testing.T, conns *pool.Mux) {
	t.Helper()
	watch := harness.StartStopwatch()
	if err := conns.Close(); err != nil {
		t.Error(err)
	}
	if took := watch.Elapsed(); took > inTime {
		t.Errorf("closing the client took %v, want %v at most", took, inTime)
	}
}

// A server that has multiplexed and no longer reads makes the client hold only what the connections
// may have pending.
func TestServerStopsReading(t *testing.T) {
	cfg := pool.MuxConfig{MaxConns: 2, MaxPendingBytes: 1 << 20}
	healthy := harness.Echo(t, harness.Kiteline, new(harness.Service))
	proxy := harness.NewProxy(t, harness.Echo(t, harness.Kiteline, new(harness.Service)).Addr)
	cli, conns := newClient(t, proxy.Addr, cfg, client.WithRPCTimeout(stalledTimeout))
	request := &echo.EchoRequest{Message: bulk()}
	if _, err := cli.Echo(context.Background(), request); err != nil {
		t.Fatal(err)
	}
	before := harness.LiveHeap()
	proxy.StallRequests()
	peak := callStalled(t, cli, request, healthy.Addr)
	checkClose(t, conns)
	t.Run("memory", func(t *testing.T) {
		checkMemory(t, before, peak, int64(cfg.MaxConns*(cfg.MaxPendingBytes+bulkBytes)))
	})
}

// A peer accepts and never reads. Whether it multiplexes stays unknown, so the client makes as many
// calls as it has connections to the peer, each with a request in flight.
func TestServerNeverReads(t *testing.T) {
	cfg := pool.MuxConfig{MaxPooledConns: 32}
	healthy := harness.Echo(t, harness.Kiteline, new(harness.Service))
	silent := harness.Peer(t, func(*net.TCPConn) {})
	cli, conns := newClient(t, silent, cfg, client.WithRPCTimeout(stalledTimeout))
	request := &echo.EchoRequest{Message: bulk()}
	if err := callText(cli, "warm", callopt.WithHostPort(healthy.Addr.String())); err != nil {
		t.Fatal(err)
	}
	before := harness.LiveHeap()
	peak := callStalled(t, cli, request, healthy.Addr)
	checkMemory(t, before, peak, int64(cfg.MaxPooledConns*bulkBytes))
	checkClose(t, conns)
}

// A client has its calls handled and reads no replies. The server holds what may be pending for it
// and the replies of the handlers that it may have, and serves others meanwhile.
func TestClientNeverReads(t *testing.T) {
	const handlers = 64
	const pending = 16 << 20 // muxserver.Config.MaxPendingBytes
	reply := bulk()
	service := &harness.Service{OnEcho: func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
		if r.Message.Text == reply.Text {
			return &echo.EchoResponse{Message: reply}, nil
		}
		return &echo.EchoResponse{Message: r.Message}, nil
	}}
	s := harness.Start(t, harness.ServerConfig{New: harness.NewEcho(service), Options: []server.Option{
		server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{MaxHandlersPerConn: handlers}))),
	}})
	proxy := harness.NewProxy(t, s.Addr)
	cli, conns := newClient(t, proxy.Addr, pool.MuxConfig{MaxConns: 1}, client.WithRPCTimeout(stalledTimeout))
	request := &echo.EchoRequest{Message: &echo.Message{Text: reply.Text}}
	if _, err := cli.Echo(context.Background(), request); err != nil {
		t.Fatal(err)
	}
	before := harness.LiveHeap()
	proxy.StallReplies()
	peak := callStalled(t, cli, request, s.Addr)
	checkMemory(t, before, peak, pending+handlers*bulkBytes)
	checkClose(t, conns)
	if took, err := s.Stop(); err != nil || took > exitInTime {
		t.Errorf("Stop took %v and returned %v, want %v at most and nil", took, err, exitInTime)
	}
}

// exitInTime is how long a server may take to stop if its clients have gone: Kitex's grace, and a
// margin.
const exitInTime = time.Second
