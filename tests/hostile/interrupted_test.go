package hostile

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// A client that resets its connection while its handler runs does not disturb the
// handler, nor the server; the reply is dropped.
func TestResetDuringHandler(t *testing.T) {
	const clients = 20
	entered, proceed := make(chan struct{}, clients), make(chan struct{})
	var finished sync.WaitGroup
	finished.Add(clients)
	s := harness.Echo(t, harness.Kiteline, &harness.Service{
		OnEcho: func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
			defer finished.Done()
			entered <- struct{}{}
			<-proceed
			return &echo.EchoResponse{Message: r.Message}, nil
		},
	})
	logs := harness.NewLogs(t)
	base := harness.NewBaseline()
	for range clients {
		c := harness.Dial(t, s.Addr)
		if _, err := c.Write(harness.EchoFrame(t, "hello")); err != nil {
			t.Fatal(err)
		}
		testkit.Receive(t, "the handler runs", entered)
		harness.Reset(t, c)
	}
	close(proceed)
	finished.Wait()
	testkit.Settles(t, "open connections", s.Connections.Open, 0)
	base.Restored(t)
	logs.Check(t)
}

// A client that sends requests and does not read the replies, from the start or after some, costs
// its own connection: the write times out and the connection ends.
func TestPeerThatDoesNotRead(t *testing.T) {
	// The two are far apart, for busy machines.
	const timeout, stall = 600 * time.Millisecond, 60 * time.Millisecond
	tests := []struct {
		name   string
		stalls int // waits of the server shorter than its timeout, after which the peer reads
	}{
		{"from the start", 0},
		{"after a stall", 1},
		{"after several stalls", 3},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := harness.Echo(t, harness.Kiteline, new(harness.Service), server.WithReadWriteTimeout(timeout))
			b := harness.NewBystander(t, s)
			c := harness.Dial(t, s.Addr)
			sent := make(chan error, 1)
			go func() { sent <- sendUntilClosed(c, harness.EchoFrame(t, string(make([]byte, harness.LargeBytes)))) }()
			for range tc.stalls {
				timer := time.NewTimer(stall) // the server's writes wait meanwhile
				<-timer.C
				if _, err := io.CopyN(io.Discard, c, 8*harness.LargeBytes); err != nil {
					t.Fatalf("reading what the server wrote: %v", err)
				}
			}
			testkit.Settles(t, "open connections, the bystander's", s.Connections.Open, 1)
			b.Finish(t)
			_ = testkit.Receive(t, "the end of the connection", sent)
		})
	}
}

// sendUntilClosed sends a frame over and over, which blocks once both sides' buffers
// are full, and returns the error that ends it.
func sendUntilClosed(c net.Conn, frame []byte) error {
	for {
		if _, err := c.Write(frame); err != nil {
			return err
		}
	}
}

// Connections that come and go without a byte leave nothing behind.
func TestSilentConnections(t *testing.T) {
	const connections = 200
	s := harness.Echo(t, harness.Kiteline, new(harness.Service))
	logs := harness.NewLogs(t)
	b := harness.NewBystander(t, s)
	base := harness.NewBaseline()
	before := s.Connections.Accepted()
	var open []net.Conn
	for range connections {
		open = append(open, harness.Dial(t, s.Addr))
	}
	testkit.Settles(t, "connections", s.Connections.Accepted, before+connections)
	for n, c := range open {
		if n%2 == 0 {
			harness.Reset(t, c)
		} else {
			c.Close()
		}
	}
	testkit.Settles(t, "open connections, the bystander's", s.Connections.Open, 1)
	b.Finish(t)
	base.Restored(t)
	if got := logs.Matching(""); len(got) > 0 {
		t.Errorf("got %d log lines, want none: %s", len(got), got[0])
	}
}
