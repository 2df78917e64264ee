package behaviour

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/limit"
	"github.com/cloudwego/kitex/pkg/limiter"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// The server closes connections that server.WithLimit has refused, and its count returns to zero
// after refused and closed connections: Kitex counts before it refuses, and relies on OnInactive
// (limiter/connection_limiter.go).
func TestConnectionLimit(t *testing.T) {
	const limited = 3
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			lim := limiter.NewConnectionLimiter(limited)
			s := serveEcho(t, tr, new(harness.Service), server.WithConnectionLimiter(lim))
			occupied := func() int { _, n := lim.Status(context.Background()); return n }
			testkit.Settles(t, "connections counted at first", occupied, 0)
			for range 2 { // a second round meets what the first leaves behind
				var open []net.Conn
				for range limited {
					c := harness.Dial(t, s.Addr)
					callRaw(t, c)
					open = append(open, c)
				}
				for range 2 * limited {
					closedByServer(t, harness.Dial(t, s.Addr))
				}
				for _, c := range open {
					callRaw(t, c) // those within the limit still work
				}
				testkit.Settles(t, "connections counted", occupied, limited)
				for _, c := range open {
					c.Close()
				}
				testkit.Settles(t, "connections counted after all closed", occupied, 0)
			}
		})
	}
}

// callRaw makes a call on c.
func callRaw(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := c.Write(harness.EchoFrame(t, "hello")); err != nil {
		t.Fatal(err)
	}
	if err := harness.ReadFrame(c); err != nil {
		t.Fatalf("reply: %v", err)
	}
}

// The same with Kitex's own option, which changes at run time.
func TestWithLimitMaxConnections(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			var updater atomic.Value
			s := serveEcho(t, tr, new(harness.Service), server.WithLimit(&limit.Option{
				MaxConnections: 2,
				UpdateControl:  func(u limit.Updater) { updater.Store(u) },
			}))
			first, second := harness.Dial(t, s.Addr), harness.Dial(t, s.Addr)
			callRaw(t, first)
			callRaw(t, second)
			closedByServer(t, harness.Dial(t, s.Addr))
			u, ok := updater.Load().(limit.Updater)
			if !ok {
				t.Fatal("got no limit.Updater")
			}
			u.UpdateLimit(&limit.Option{MaxConnections: 3})
			// These are the harness's connection and the refused one.
			testkit.Settles(t, "connections ended", s.Connections.Ended, 2)
			callRaw(t, harness.Dial(t, s.Addr))
		})
	}
}

// countdown is a limiter.RateLimiter that lets a number of requests through.
type countdown struct{ left atomic.Int64 }

// Acquire implements limiter.RateLimiter.
func (c *countdown) Acquire(context.Context) bool { return c.left.Add(-1) >= 0 }

// Status implements limiter.RateLimiter.
func (c *countdown) Status(context.Context) (most, current int, interval time.Duration) {
	return 0, int(c.left.Load()), time.Second
}

// A request above the rate gets an exception that says so (bound/limiter_inbound.go, OnMessage);
// later ones work again.
func TestQPSLimit(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			rate := &countdown{}
			rate.left.Store(3)
			s := serveEcho(t, tr, new(harness.Service), server.WithQPSLimiter(rate))
			cli := harness.EchoClient(t, tr, s.Addr)
			for n := range 3 {
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Fatal(err)
				}
			}
			err := harness.CallEcho(context.Background(), cli, 3)
			if got, want := outcomeOf(err), (outcome{remoteOrNet: true, fromPeer: true}); got != want {
				t.Errorf("class of %v: got %v, want %v", err, got, want)
			}
			rate.left.Store(1)
			if err := harness.CallEcho(context.Background(), cli, 4); err != nil {
				t.Errorf("call below the rate again: %v", err)
			}
		})
	}
}

// closedByServer reads from c until the server closes it, and fails the test if it does not.
func closedByServer(t *testing.T, c net.Conn) {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		_, err := c.Read(buf)
		if err == nil {
			continue // an error reply
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want the server to close", err)
		}
		return
	}
}
