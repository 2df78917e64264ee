package conn_test

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestPeerThatNeverReads: the write timeout ends that connection in time and harms no other;
// OnPressure is called.
func TestPeerThatNeverReads(t *testing.T) {
	const timeout = 200 * time.Millisecond
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			type result struct {
				err      error
				took     time.Duration
				pending  int
				pressure []conn.Pressure
			}
			results := make(chan result, 1)
			var pressure []conn.Pressure
			pending := 0
			s := startServer(t, network, conn.ServerConfig{Config: conn.Config{
				WriteTimeout: timeout, WriteHighWatermark: 64 << 10, WriteLowWatermark: 1 << 10,
				OnPressure: func(c *conn.Conn, p conn.Pressure) { // the Flush waits for it
					pressure = append(pressure, p)
					pending = max(pending, c.Pending())
					if p != c.Pressure() {
						t.Errorf("told %v, but it is %v", p, c.Pressure())
					}
				},
				OnRequest: func(ctx context.Context, c *conn.Conn) error {
					if c.Reader().Len() != 1 {
						return echoFrames(ctx, c)
					}
					_ = c.Reader().Skip(1)
					start := time.Now()
					_, _ = c.Writer().WriteBinary(noise)
					err := c.Writer().Flush()
					results <- result{err, time.Since(start), pending, pressure}
					return nil // the failed Flush has closed it
				},
			}})
			other := s.dial(t)
			stuck := s.dial(t)
			if tcp, ok := stuck.(*net.TCPConn); ok {
				_ = tcp.SetReadBuffer(4 << 10)
			}
			if _, err := stuck.Write([]byte("!")); err != nil {
				t.Fatal(err)
			}
			for len(results) == 0 {
				if got, err := call(other, "x"); got != "x" || err != nil {
					t.Fatalf("the other connection: got %q, %v", got, err)
				}
			}
			r := testkit.Receive(t, "result", results)
			if !errors.Is(r.err, os.ErrDeadlineExceeded) || r.took < timeout || r.took > timeout+time.Second {
				t.Errorf("got %v after %v, want a timeout after %v", r.err, r.took, timeout)
			}
			if r.pending == 0 {
				t.Error("nothing pending while the Flush waited")
			}
			if len(r.pressure) != 2 || r.pressure[0] != conn.PressureHigh || r.pressure[1] != conn.PressureLow {
				t.Errorf("got pressure %v, want [high low]", r.pressure)
			}
			testkit.Eventually(t, "the stuck connection closed", func() bool { return s.ConnCount() == 1 })
			if got, err := call(other, "x"); got != "x" || err != nil {
				t.Errorf("the other connection: got %q, %v", got, err)
			}
		})
	}
}

// TestBackpressure: a handler that does not read leaves the bytes in the kernel, and finally with
// the sender.
func TestBackpressure(t *testing.T) {
	for _, network := range networks {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			var buffered, received atomic.Int64
			s := startServer(t, network, conn.ServerConfig{Config: conn.Config{
				OnRequest: func(_ context.Context, c *conn.Conn) error {
					buffered.Store(max(buffered.Load(), int64(c.Reader().Len())))
					<-release
					received.Add(int64(c.Reader().Len()))
					return c.Reader().Skip(c.Reader().Len())
				},
			}})
			c := s.dial(t)
			var sent int64
			_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			for {
				n, err := c.Write(noise[:1<<20])
				sent += int64(n)
				if err != nil {
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error(err)
					}
					break
				}
				if sent > 256<<20 {
					t.Fatal("256 MiB were taken from the sender while nobody reads")
				}
			}
			if got := buffered.Load(); got > 128<<10 {
				t.Errorf("%d bytes are in the server's buffer, want no more than a read", got)
			}
			close(release)
			testkit.Eventually(t, "everything received", func() bool { return received.Load() == sent })
		})
	}
}

// TestStarvation: one connection streams at line rate; others ping and are answered in bounded
// time.
func TestStarvation(t *testing.T) {
	g := newGroup(t, conn.GroupConfig{})
	s := startServer(t, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{
		OnRequest: func(ctx context.Context, c *conn.Conn) error {
			if p, _ := c.Reader().Peek(1); p[0] == 's' {
				return c.Reader().Skip(c.Reader().Len())
			}
			return echoFrames(ctx, c)
		},
	}})
	pings := make([]net.Conn, 20)
	for i := range pings {
		pings[i] = s.dial(t)
	}
	worst := func(n int) time.Duration {
		var worst time.Duration
		for i := range n {
			start := time.Now()
			if got, err := call(pings[i%len(pings)], "x"); got != "x" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			worst = max(worst, time.Since(start))
		}
		return worst
	}
	unloaded := worst(200)
	stream := s.dial(t)
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		p := make([]byte, 256<<10)
		for i := range p {
			p[i] = 's'
		}
		for {
			if _, err := stream.Write(p); err != nil {
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	loaded := worst(testkit.Rounds(300))
	close(stop)
	<-stopped
	if limit := max(50*unloaded, 500*time.Millisecond); loaded > limit {
		t.Errorf("the slowest ping took %v beside a stream, %v without, want at most %v", loaded, unloaded, limit)
	}
	t.Logf("slowest ping %v, beside a stream %v", unloaded, loaded)
}
