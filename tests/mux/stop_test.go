package mux

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// crowd counts the handlers inside, and holds those whose request asks for that.
type crowd struct {
	opened chan struct{}

	mu       sync.Mutex
	now, max int // guarded by mu
	bulks    int // guarded by mu: handled
}

func (c *crowd) echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	c.mu.Lock()
	c.now++
	c.max = max(c.max, c.now)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
	}()
	switch r.Message.Text {
	case "held":
		<-c.opened
	case "bulk":
		c.mu.Lock()
		c.bulks++
		c.mu.Unlock()
		return &echo.EchoResponse{Message: bulk()}, nil
	}
	return &echo.EchoResponse{Message: r.Message}, nil
}

func (c *crowd) inside() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *crowd) hasBulks() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bulks > 0
}

func (c *crowd) most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.max
}

// A server that stops answers every call that has been sent, in every state: in a handler, being
// encoded, waiting for a peer that reads slowly, and oneway.
func TestStopLosesNothing(t *testing.T) {
	t.Parallel()
	const held, oneways, bulks = 20, 10, 40
	for round := range 3 {
		c := &crowd{opened: make(chan struct{})}
		service := &harness.Service{OnEcho: c.echo}
		s := harness.Start(t, harness.ServerConfig{New: harness.NewEcho(service), Options: []server.Option{
			server.WithSuite(kiteline.NewServerSuite()),
			server.WithExitWaitTime(8 * testkit.Patience),
		}})
		proxy := harness.NewProxy(t, s.Addr)
		one := pool.MuxConfig{MaxConns: 1}
		waiting, waitingPool := newClient(t, s.Addr, one)
		busy, busyPool := newClient(t, s.Addr, one)
		slow, slowPool := newClient(t, proxy.Addr, one)
		for _, cli := range []echoservice.Client{waiting, busy, slow} {
			if err := callText(cli, "first"); err != nil {
				t.Fatal(err)
			}
		}
		proxy.StallReplies()
		results := make(chan error, held+2*bulks)
		call := func(cli echoservice.Client, text string) {
			go func() {
				_, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Text: text}})
				if err != nil {
					err = fmt.Errorf("%s: %w", text, err)
				}
				results <- err
			}()
		}
		for range bulks {
			call(slow, "bulk")
		}
		testkit.Eventually(t, "handlers of the client that reads slowly", c.hasBulks)
		for range held {
			call(waiting, "held")
		}
		testkit.Settles(t, "handlers that are held", c.inside, held)
		testkit.Eventually(t, "requests sent", func() bool {
			return slowPool.Stats().Frames == bulks+1 && waitingPool.Stats().Frames == held+1
		})
		for range oneways {
			if err := waiting.Notify(context.Background(), &echo.Message{Text: "behind them"}); err != nil {
				t.Fatal(err)
			}
		}
		for range bulks {
			call(busy, "bulk")
		}
		testkit.Eventually(t, "requests sent", func() bool { return busyPool.Stats().Frames == bulks+1 })
		stopped := make(chan error, 1)
		go func() {
			_, err := s.Stop()
			stopped <- err
		}()
		testkit.Eventually(t, "a client was told", func() bool { return waitingPool.Stats().PeerDrains > 0 })
		proxy.Resume()
		close(c.opened)
		for range cap(results) {
			if err := testkit.Receive(t, "a call's result", results); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if err := testkit.Receive(t, "Stop", stopped); err != nil {
			t.Errorf("round %d: Stop: %v", round, err)
		}
		if got := service.Notified(); got != oneways {
			t.Errorf("round %d: got %d oneway calls, want %d", round, got, oneways)
		}
	}
}

// As many handlers run at a time as the limits of one connection and of all allow, and no more.
func TestHandlerLimits(t *testing.T) {
	t.Parallel()
	const clients, calls = 3, 40
	for _, tc := range []struct{ perConn, total, want int }{{4, 0, 12}, {4, 10, 10}, {64, 1, 1}, {1, 2, 2}} {
		t.Run(fmt.Sprintf("%d and %d", tc.perConn, tc.total), func(t *testing.T) {
			t.Parallel()
			c := &crowd{opened: make(chan struct{})}
			s := harness.Start(t, harness.ServerConfig{New: harness.NewEcho(&harness.Service{OnEcho: c.echo}), Options: []server.Option{
				server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{MaxHandlers: tc.total, MaxHandlersPerConn: tc.perConn}))),
			}})
			all := make([]echoservice.Client, clients)
			for i := range all {
				all[i], _ = newClient(t, s.Addr, pool.MuxConfig{MaxConns: 1})
				if err := callText(all[i], "first"); err != nil {
					t.Fatal(err)
				}
			}
			var callers sync.WaitGroup
			for _, cli := range all {
				for range calls {
					callers.Go(func() {
						if err := callText(cli, "held"); err != nil {
							t.Error(err)
						}
					})
				}
			}
			testkit.Eventually(t, "handlers at a time", func() bool { return c.inside() >= tc.want })
			timer := time.NewTimer(10 * time.Millisecond) // in which one too many would come
			<-timer.C
			close(c.opened)
			callers.Wait()
			most := tc.want
			if tc.total == 0 { // a client whose calls wait may have more connections
				most = tc.perConn * s.Connections.Accepted()
			}
			if got := c.most(); got > most {
				t.Errorf("got %d handlers at a time, want %d at most", got, most)
			}
		})
	}
}
