package twohosts

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/server"
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
	ratePerSecond  = 100
	rpcTimeout     = 400 * time.Millisecond
	connectTimeout = 300 * time.Millisecond
	serverIdle     = 2 * time.Second
	heartbeat      = 500 * time.Millisecond
	longMillis     = 2500 // longer than heartbeats need, shorter than a server's stop waits
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) {
	// The tests wait most of their time; as many at once as there are processors would take
	// minutes.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	promise.Main(m, harness.Run)
}

// TestRole plays the roles of the processes on the two hosts.
func TestRole(t *testing.T) {
	harness.Play(t, map[string]func(*testing.T, *harness.Role){"server": serve, "client": call})
}

// serve is an echo server that answers questions about its connections.
func serve(t *testing.T, role *harness.Role) {
	ln, err := net.Listen("tcp", net.JoinHostPort(serverAddress, serverPort))
	if err != nil {
		t.Fatal(err)
	}
	s := harness.Start(t, harness.ServerConfig{
		Listener: ln, New: harness.NewEcho(new(harness.Service)),
		Options: []server.Option{server.WithMaxConnIdleTime(serverIdle)},
	})
	role.Say("serving")
	for role.Heard() != nil {
		role.Say("%d", s.Connections.Open())
	}
}

// report counts how a client's calls have ended since it was told to begin again.
type report struct {
	Calls, Answered, Failed int
	Wrong                   int // answers to another call, untyped errors
	Example                 string
	Slowest                 time.Duration
	SinceFailure            time.Duration // since a failed call was begun; large if none failed
	Kinds                   map[string]int
}

// caller makes calls at a steady rate and counts how they end.
type caller struct {
	stub echoservice.Client

	mu          sync.Mutex
	seen        report    // guarded by mu
	lastFailure time.Time // guarded by mu: when the last failed call was begun
}

// call is a client that calls all the time. "report" makes it report about the calls, "reset" makes
// it count from zero. "long" makes it make one call without a timeout that takes the server a long
// time, and report how it ended.
func call(t *testing.T, role *harness.Role) {
	addr, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(serverAddress, serverPort))
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{stub: newClient(t, role.Arguments[0], addr)}
	load := harness.StartLoad(t, ratePerSecond, c.call)
	testkit.Eventually(t, "calls", func() bool { return load.Ended() > 0 })
	role.Say("calling")
	for words := role.Heard(); words != nil; words = role.Heard() {
		switch words[0] {
		case "report":
			text, err := json.Marshal(c.report())
			if err != nil {
				t.Fatal(err)
			}
			role.Say("%s", text)
		case "reset":
			c.reset()
		case "long":
			began := time.Now()
			_, err := c.stub.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{}, DelayMillis: longMillis},
				callopt.WithRPCTimeout(time.Minute))
			role.Say("%d %t %v", time.Since(began), errors.Is(err, mux.ErrSilent), err)
		}
	}
	load.Stop() // fails the test if a call does not end
}

func newClient(t *testing.T, kind string, addr net.Addr) echoservice.Client {
	t.Helper()
	opts := []client.Option{client.WithRPCTimeout(rpcTimeout), client.WithConnectTimeout(connectTimeout)}
	if strings.HasPrefix(kind, "multiplexed") {
		cfg := pool.MuxConfig{Heartbeat: heartbeat}
		if kind != "multiplexed" {
			cfg.Heartbeat = -1
		}
		opts = append(opts, client.WithTransportProtocol(transport.TTHeader),
			client.WithSuite(kiteline.NewMuxClientSuite(kiteline.WithMux(cfg))))
		return harness.CustomClient(t, echoservice.NewClient, append(opts, client.WithHostPorts(addr.String()))...)
	}
	return harness.EchoClient(t, harness.Kiteline, addr, opts...)
}

func (c *caller) call(n int) error {
	began := time.Now()
	text := fmt.Sprint(n)
	got, err := c.stub.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Text: text}})
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Calls++
	c.seen.Slowest = max(c.seen.Slowest, took)
	switch {
	case err == nil && got.Message.Text == text:
		c.seen.Answered++
	case err == nil:
		c.seen.Wrong++
		c.seen.Example = fmt.Sprintf("call %s got the answer to %q", text, got.Message.Text)
	default:
		c.seen.Failed++
		c.lastFailure = began
		if !harness.IsTypedCall(err) {
			c.seen.Wrong++
			c.seen.Example = err.Error()
		}
		if c.seen.Kinds == nil {
			c.seen.Kinds = make(map[string]int)
		}
		c.seen.Kinds[kindOf(err)]++
	}
	return err
}

func kindOf(err error) string {
	for name, kind := range map[string]error{
		"timed out": kerrors.ErrRPCTimeout, "no connection": kerrors.ErrGetConnection, "connection ended": kerrors.ErrRemoteOrNetwork,
	} {
		if errors.Is(err, kind) {
			return name
		}
	}
	return err.Error()
}

func (c *caller) report() report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.seen
	r.Kinds = maps.Clone(r.Kinds)
	r.SinceFailure = time.Since(c.lastFailure)
	return r
}

func (c *caller) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = report{}
}

// ask makes a client report.
func ask(t *testing.T, client *harness.Child) (r report) {
	t.Helper()
	answer := client.Ask("report")
	if err := json.Unmarshal([]byte(answer), &r); err != nil {
		t.Fatalf("a client reports %q: %v", answer, err)
	}
	return r
}
