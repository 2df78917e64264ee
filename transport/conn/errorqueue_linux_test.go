//go:build !nopoller

package conn

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// queuesErrors makes each write of nc leave a timestamp in the error queue of its socket, where it
// stays.
func queuesErrors(t *testing.T, nc net.Conn) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	testkit.Must(t, err)
	var setErr error
	err = raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_TX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE)
	})
	if err != nil || setErr != nil {
		t.Skipf("SO_TIMESTAMPING: %v, %v", err, setErr)
	}
}

// hasQueuedError reports whether the kernel reports POLLERR and no hang-up.
func hasQueuedError(nc net.Conn) (has bool) {
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		_, _ = unix.Poll(polled, 0)
		has = polled[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLRDHUP) == unix.POLLERR
	})
	return has
}

// events returns how many events g's pollers have delivered.
func (g *Group) events() (n uint64) {
	for _, s := range g.pollers.Stats() {
		n += s.Events
	}
	return n
}

// sweeps waits for n ticks of g's sweep, which a connection that is in use keeps going.
func (g *Group) sweeps(t *testing.T, n uint64) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	c, err := New(b, Config{}, g)
	testkit.Must(t, err)
	defer c.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := g.sweeper.tick.Load() + n; g.sweeper.tick.Load() < end; <-tick.C {
		c.touch()
	}
}

// TestErrorQueue: an entry of the error queue that is never taken is no hang-up, wakes the poller a
// bounded number of times, and hides neither what the peer sends nor its end.
func TestErrorQueue(t *testing.T) {
	echoed := func(_ context.Context, c *Conn) error {
		p, err := c.Reader().Next(c.Reader().Len())
		if err == nil {
			_, err = c.Write(p)
		}
		return err
	}
	for _, test := range []struct {
		name      string
		lingering int
		handler   func(release chan struct{}) func(context.Context, *Conn) error
	}{
		{"user", 0, nil},
		{"dormant", -1, func(chan struct{}) func(context.Context, *Conn) error { return echoed }},
		{"lingering", 4, func(chan struct{}) func(context.Context, *Conn) error { return echoed }},
		{"in a handler", 0, func(release chan struct{}) func(context.Context, *Conn) error {
			return func(ctx context.Context, c *Conn) error {
				err := echoed(ctx, c)
				<-release
				return err
			}
		}},
		{"paused", 0, func(chan struct{}) func(context.Context, *Conn) error {
			return func(ctx context.Context, c *Conn) error {
				c.Pause()
				return echoed(ctx, c)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, err := NewGroup(GroupConfig{SweepPeriod: time.Millisecond, MaxLingering: test.lingering})
			testkit.Must(t, err)
			defer g.Close()
			if g.pollers == nil {
				t.Skip("no poller")
			}
			release := make(chan struct{})
			defer close(release)
			var told atomic.Int32
			cfg := Config{OnDisconnect: func(context.Context, *Conn) { told.Add(1) }}
			if test.handler != nil {
				cfg.OnRequest = test.handler(release)
			}
			peer, nc := loopback(t)
			queuesErrors(t, nc)
			c, err := New(nc, cfg, g)
			testkit.Must(t, err)
			defer c.Close()
			talk := func() {
				_, _ = peer.Write([]byte("ping"))
				if test.handler == nil {
					if _, err := c.Reader().Next(4); err != nil {
						t.Errorf("Next: %v", err)
					}
					if _, err := c.Write([]byte("ping")); err != nil {
						t.Errorf("Write: %v", err)
					}
				}
				if _, err := io.ReadFull(peer, make([]byte, 4)); err != nil {
					t.Errorf("no answer: %v", err)
				}
			}
			talk()
			if !hasQueuedError(nc) {
				t.Skip("the kernel queues no timestamps")
			}
			g.sweeps(t, 20)
			const most = 8
			before := g.events()
			g.sweeps(t, 100)
			if got := g.events() - before; got > most {
				t.Errorf("got %d events in 100 sweeps without traffic, want at most %d", got, most)
			}
			if !c.IsActive() || told.Load() != 0 || c.Err() != nil {
				t.Errorf("active %v, OnDisconnect called %d times, cause %v while the peer is there", c.IsActive(), told.Load(), c.Err())
			}
			if test.name != "in a handler" && test.name != "paused" {
				talk()
				g.sweeps(t, 20)
				talk()
			}
			peer.Close()
			deadline := time.After(10 * time.Second)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for c.IsActive() || told.Load() != 1 {
				select {
				case <-tick.C:
				case <-deadline:
					t.Fatalf("active %v, OnDisconnect called %d times after the peer has closed", c.IsActive(), told.Load())
				}
			}
		})
	}
}

// loopback returns the two ends of a TCP connection.
func loopback(t *testing.T) (peer, nc net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	if peer, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	_ = peer.SetDeadline(time.Now().Add(10 * time.Second))
	if nc, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return peer, nc
}
