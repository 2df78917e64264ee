package conn_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/internal/testkit/leak"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestChurn: connections come and go on both sides, so that descriptors are reused as fast as
// possible. Each has its own name echoed: anything that reaches a wrong generation gives a wrong
// answer.
func TestChurn(t *testing.T) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			g := newGroup(t, conn.GroupConfig{SweepPeriod: time.Millisecond})
			var opened, closed atomic.Int64
			s := startServer(t, network, conn.ServerConfig{Group: g, Acceptors: 2, Config: conn.Config{
				OnPrepare: func(c *conn.Conn) context.Context {
					opened.Add(1)
					_ = c.AddCloseCallback(func(*conn.Conn) { closed.Add(1) })
					return nil
				},
				OnRequest: func(ctx context.Context, c *conn.Conn) error {
					if rand.IntN(20) == 0 {
						return c.Close()
					}
					return echoFrames(ctx, c)
				},
			}})
			before := len(leak.Descriptors())
			var wg sync.WaitGroup
			for worker := range 8 {
				wg.Go(func() { churn(t, s, g, worker, testkit.Rounds(150)) })
			}
			wg.Wait()
			testkit.Eventually(t, "server's connections closed", func() bool { return s.ConnCount() == 0 })
			testkit.Eventually(t, "every close callback", func() bool { return opened.Load() == closed.Load() })
			testkit.Eventually(t, "descriptors back", func() bool { return len(leak.Descriptors()) <= before })
		})
	}
}

// churn opens n connections, one after another, and uses each a little.
func churn(t *testing.T, s *server, g *conn.Group, worker, n int) {
	for i := range n {
		grouped := g
		if i%3 == 0 {
			grouped = nil
		}
		d := conn.Dialer{Group: grouped}
		c, err := d.DialTimeout(s.network, s.address, patience)
		if err != nil {
			t.Error(err)
			return
		}
		name := fmt.Sprintf("%d-%d", worker, i)
		for range rand.IntN(5) {
			got, err := call(c, name)
			if err != nil {
				break // the server closes at random
			}
			if got != name {
				t.Errorf("got %q, want %q", got, name)
			}
		}
		if tcp, ok := c.NetConn().(*net.TCPConn); ok && rand.IntN(3) == 0 {
			_ = tcp.SetLinger(0)
		}
		if rand.IntN(2) == 0 {
			_, _ = c.Write(frame(name)[:3])
		}
		go c.IsActive()
		c.Close()
	}
}
