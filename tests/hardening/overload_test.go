package hardening

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

const (
	slots    = 10
	capacity = slots * int(time.Second/slotTime) // calls a second that the server can bear
	deadline = 500 * time.Millisecond

	// callMemory is what a call that waits in the server may hold: a goroutine, the request,
	// Kitex's state.
	callMemory = 32 << 10

	// endedMemory is what the test's server itself keeps of each connection, to see that it ends
	// once.
	endedMemory = 4 << 10
)

// overload is a server that gets twice the load that it can bear.
type overload struct {
	name    string
	server  []string // its arguments, besides the slots
	client  func(t *testing.T, addr net.Addr) echoservice.Client
	waiting int // calls that may be in the server at a time
}

const (
	muxConns, muxInFlight = 2, 100 // of the multiplexing client
	handlerLimit          = 64     // of the server, for multiplexed calls
	connLimit             = 200    // of the server: it refuses others
)

// Twice the load that the server can bear does not take it down. Calls that it accepts end within
// their deadline, the others fail with an error that says why, waiting calls are bounded, and the
// server recovers soon after.
func TestOverload(t *testing.T) {
	promise.Among(t)
	for _, o := range []overload{
		{"multiplexed, handlers limited", []string{fmt.Sprintf("handlers=%d", handlerLimit)}, muxClient, handlerLimit},
		{"multiplexed, handlers not limited", nil, muxClient, muxConns * muxInFlight},
		{"pooled, connections limited", []string{fmt.Sprintf("connections=%d", connLimit)}, pooledClient, connLimit},
	} {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel() // slots are scarce, not processors
			o.run(t)
		})
	}
}

// muxClient makes a client that refuses calls if there is no room for them.
func muxClient(t *testing.T, addr net.Addr) echoservice.Client {
	t.Helper()
	conns := pool.NewMux("echo", pool.MuxConfig{MaxConns: muxConns, MaxInFlight: muxInFlight, Overload: mux.FailFast})
	t.Cleanup(func() {
		t.Logf("%+v", conns.Stats())
	})
	return harness.CustomClient(t, echoservice.NewClient, client.WithHostPorts(addr.String()), client.WithRPCTimeout(deadline),
		client.WithConnectTimeout(testkit.Patience), client.WithTransportProtocol(transport.TTHeader),
		client.WithSuite(kiteline.NewMuxClientSuite()), client.WithConnPool(conns))
}

// pooledClient makes a client with a connection for each call in flight.
func pooledClient(t *testing.T, addr net.Addr) echoservice.Client {
	t.Helper()
	return harness.EchoClient(t, harness.Kiteline, addr, client.WithRPCTimeout(deadline))
}

// outcome counts how the calls of one client ended.
type outcome struct {
	mu       sync.Mutex
	answered []time.Duration // guarded by mu: the times of those
	failed   int             // guarded by mu
	refused  []time.Duration // guarded by mu: the times of calls that limits refused
	slowest  time.Duration   // guarded by mu: of all
	untyped  error           // guarded by mu: an unexpected error
}

func (o *outcome) call(stub echoservice.Client) error {
	began := time.Now()
	_, err := stub.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{}})
	took := time.Since(began)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.slowest = max(o.slowest, took)
	switch {
	case err == nil:
		o.answered = append(o.answered, took)
		return nil
	case errors.Is(err, mux.ErrOverloaded), errors.Is(err, mux.ErrRefused):
		o.refused = append(o.refused, took)
	case !harness.IsTypedCall(err):
		o.untyped = err
	}
	o.failed++
	return err
}

func (o overload) run(t *testing.T) {
	lasts := testkit.Scale(time.Second, 60*time.Second)
	server, addr := startServer(t, append([]string{fmt.Sprintf("slots=%d", slots)}, o.server...)...)
	stub := o.client(t, addr)
	var seen outcome
	if err := seen.call(stub); err != nil { // so that the client knows its server
		t.Fatal(err)
	}
	before := server.AskNumber("heap")
	load := harness.StartLoad(t, 2*capacity, func(int) error { return seen.call(stub) })
	var peak int64
	for end := time.Now().Add(lasts); time.Now().Before(end); <-time.After(lasts / 20) {
		peak = max(peak, server.AskNumber("heap"))
	}
	load.Stop()
	recovered := recovery(t, stub)
	name := "overload, " + o.name
	seen.check(t, name)
	checkMemory(t, name, before, peak, int64(o.waiting*callMemory)+server.AskNumber("ended")*endedMemory+smallMemory)
	checkTime(t, name+": all is well after its end", recovered, 2*time.Second)
	t.Log(load)
}

// check records whether the calls ended as they should.
func (o *outcome) check(t *testing.T, name string) {
	t.Helper()
	p99 := testkit.Percentile(o.answered, 99)
	promise.Check(t, name+": calls answered", fmt.Sprintf("p99 <= %v", deadline),
		fmt.Sprintf("%d of %d, p50 %v, p99 %v", len(o.answered), len(o.answered)+o.failed, testkit.Percentile(o.answered, 50).Round(time.Millisecond), p99.Round(time.Millisecond)),
		len(o.answered) > 0 && p99 <= deadline+busy)
	promise.Check(t, name+": others", "typed errors, in time",
		fmt.Sprintf("%d, of them %d refused, p99 %v; the slowest call took %v", o.failed, len(o.refused),
			testkit.Percentile(o.refused, 99).Round(10*time.Microsecond), o.slowest.Round(time.Millisecond)),
		(o.failed > 0 || !testkit.Long) && o.untyped == nil && o.slowest <= (deadline+deadline/5)*testkit.Slowdown+busy)
	if o.untyped != nil {
		t.Errorf("a call failed with %v", o.untyped)
	}
}

// recovery returns the time until calls take about as long as their handlers.
func recovery(t *testing.T, stub echoservice.Client) time.Duration {
	t.Helper()
	const inARow = 10
	began, well := time.Now(), time.Now()
	for good := 0; good < inARow; {
		if time.Since(began) > 12*testkit.Patience {
			t.Fatalf("calls are slow or fail %v after the load's end", time.Since(began))
		}
		called := time.Now()
		_, err := stub.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{}})
		if err != nil || time.Since(called) > 10*slotTime {
			good, well = 0, time.Now()
			continue
		}
		good++
	}
	return well.Sub(began)
}
