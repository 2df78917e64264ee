package lifecycle

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// WithMaxConnIdleTime closes idle connections (Kitex's own transport only sets a keep-alive with
// it), does not touch busy ones, and costs the client's pool no call.
func TestMaxConnIdleTime(t *testing.T) {
	t.Parallel()
	const idle = 100 * time.Millisecond
	s := harness.Echo(t, harness.Kiteline, new(harness.Service), server.WithMaxConnIdleTime(idle))
	cli := harness.EchoClient(t, harness.Kiteline, s.Addr)
	for n := range 3 {
		if err := harness.CallEcho(context.Background(), cli, n); err != nil {
			t.Fatal(err)
		}
		testkit.Settles(t, "open connections", s.Connections.Open, 0)
	}
}

// A handler that takes longer than the idle time keeps its connection.
func TestMaxConnIdleTimeSparesHandlers(t *testing.T) {
	t.Parallel()
	const idle = 50 * time.Millisecond
	g := newGate()
	s := harness.Echo(t, harness.Kiteline, &harness.Service{OnEcho: g.echo}, server.WithMaxConnIdleTime(idle))
	cli := harness.EchoClient(t, harness.Kiteline, s.Addr)
	result := make(chan error, 1)
	go func() { result <- harness.CallEcho(context.Background(), cli, 0) }()
	testkit.Receive(t, "the call arrived", g.entered)
	timer := time.NewTimer(6 * idle) // the test is about this time passing
	defer timer.Stop()
	<-timer.C
	close(g.opened)
	if err := testkit.Receive(t, "the call's result", result); err != nil {
		t.Error(err)
	}
}

// WithReadWriteTimeout ends a connection that sends half a request and no more. An idle one that
// has sent whole requests stays (rpcinfo/rpcconfig.go, 5 s by default).
func TestReadWriteTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, harness.ServerConfig{
				Transport: tr, New: harness.NewEcho(new(harness.Service)), QuickStop: true,
				Options: []server.Option{server.WithReadWriteTimeout(timeout)},
			})
			cli := harness.EchoClient(t, tr, s.Addr, client.WithLongConnection(harness.LongConnections))
			if err := harness.CallEcho(context.Background(), cli, 0); err != nil {
				t.Fatal(err)
			}
			frame := harness.EchoFrame(t, "half")
			for _, sent := range []int{8, len(frame) / 2, len(frame) - 1} {
				began := time.Now()
				c := harness.Dial(t, s.Addr)
				if _, err := c.Write(frame[:sent]); err != nil {
					t.Fatal(err)
				}
				if err := readToEnd(c); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%d bytes: got %v, want the server to close", sent, err)
				}
				if took := time.Since(began); took < timeout {
					t.Errorf("%d bytes: closed after %v, want not before %v", sent, took, timeout)
				}
			}
			testkit.Settles(t, "open connections, the client's", s.Connections.Open, 1)
		})
	}
}

// readToEnd reads until c is closed and returns the error of that read.
func readToEnd(c net.Conn) error {
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return err
		}
	}
}
