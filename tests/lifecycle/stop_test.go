package lifecycle

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// neverOver is an ExitWaitTime that no test outlives: a server that stops with it has not used it
// up.
const neverOver = time.Hour

// stopSoon stops a server with an ExitWaitTime of neverOver, and fails the test if the server waits
// for that.
func stopSoon(t *testing.T, s *harness.Server) {
	t.Helper()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.MustStop()
	}()
	testkit.Receive(t, "Stop", stopped)
}

// A server without connections, or with idle ones, does not wait for ExitWaitTime.
func TestStopWithIdleConnections(t *testing.T) {
	t.Parallel()
	for _, tr := range harness.Both {
		for _, connections := range []int{0, 5} {
			s := harness.Echo(t, tr, new(harness.Service), server.WithExitWaitTime(neverOver))
			for n := range connections {
				cli := harness.EchoClient(t, tr, s.Addr)
				if err := harness.CallEcho(context.Background(), cli, n); err != nil {
					t.Fatal(err)
				}
			}
			stopSoon(t, s)
			testkit.Settles(t, "open connections after Stop", s.Connections.Open, 0)
		}
	}
}

// Connections that never sent a byte, or sent half a request, do not delay Stop for long either.
func TestStopWithSilentConnections(t *testing.T) {
	t.Parallel()
	s := harness.Echo(t, harness.Kiteline, new(harness.Service), server.WithExitWaitTime(neverOver))
	silent := harness.Dial(t, s.Addr)
	testkit.Settles(t, "open connections", s.Connections.Open, 1)
	stopSoon(t, s)
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("read after Stop: got no error, want the connection closed")
	}
}

// Calls in flight are answered before Stop returns.
func TestStopFinishesCallsInFlight(t *testing.T) {
	t.Parallel()
	const calls = 8
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			t.Parallel()
			g := newGate()
			s := harness.Echo(t, tr, &harness.Service{OnEcho: g.echo})
			cli := harness.EchoClient(t, tr, s.Addr)
			results := make(chan error, calls)
			for n := range calls {
				go func() { results <- harness.CallEcho(context.Background(), cli, n) }()
				testkit.Receive(t, "a call arrived", g.entered)
			}
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				s.MustStop()
			}()
			refusedSoon(t, s)
			select {
			case <-stopped:
				t.Error("Stop returned with calls in flight")
			default:
			}
			close(g.opened)
			for range calls {
				if err := testkit.Receive(t, "a call's result", results); err != nil {
					t.Errorf("call in flight: %v", err)
				}
			}
			testkit.Receive(t, "Stop", stopped)
		})
	}
}

// refusedSoon waits until the server accepts no more connections.
func refusedSoon(t *testing.T, s *harness.Server) {
	t.Helper()
	testkit.Eventually(t, "new connections are refused", func() bool { return !harness.CanDial(s.Addr) })
}

// With a handler that never ends, Stop returns when ExitWaitTime is over, and says so.
func TestStopHonoursExitWaitTime(t *testing.T) {
	t.Parallel()
	const exitWait = 300 * time.Millisecond
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			t.Parallel()
			g := newGate()
			s := harness.Echo(t, tr, &harness.Service{OnEcho: g.echo}, server.WithExitWaitTime(exitWait))
			cli := harness.EchoClient(t, tr, s.Addr)
			result := make(chan error, 1)
			go func() { result <- harness.CallEcho(context.Background(), cli, 0) }()
			testkit.Receive(t, "the call arrived", g.entered)
			// Stop returns with the handler still held, so it no longer waits.
			took, err := s.Stop()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Stop: got %v, want %v", err, context.DeadlineExceeded)
			}
			if took < exitWait {
				t.Errorf("Stop took %v, want %v", took, exitWait)
			}
			close(g.opened)
			// The call is answered or not: stock keeps the connection, we close it.
			_ = testkit.Receive(t, "the call's result", result)
		})
	}
}

// Stopping twice does nothing the second time.
func TestStopTwice(t *testing.T) {
	t.Parallel()
	s := harness.Echo(t, harness.Kiteline, new(harness.Service))
	s.MustStop()
	if err := s.Kitex().Stop(); err != nil {
		t.Errorf("second Stop: got %v, want nil", err)
	}
}
