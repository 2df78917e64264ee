package conn_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

const benchBytes = 1 << 10

// echoFixed answers messages of benchBytes.
func echoFixed(_ context.Context, c *conn.Conn) error {
	p, err := c.Reader().Next(benchBytes)
	if err != nil {
		return err
	}
	buf, err := c.Writer().Malloc(benchBytes)
	if err != nil {
		return err
	}
	copy(buf, p)
	return c.Writer().Flush()
}

// roundTrip asks and waits for the answer.
func roundTrip(c *conn.Conn) error {
	buf, err := c.Writer().Malloc(benchBytes)
	if err != nil {
		return err
	}
	clear(buf)
	if err := c.Writer().Flush(); err != nil {
		return err
	}
	if _, err := c.Reader().Next(benchBytes); err != nil {
		return err
	}
	return c.Reader().Release()
}

func BenchmarkEcho(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		for _, n := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("%s/conns=%d", network, n), func(b *testing.B) {
				g := newGroup(b, conn.GroupConfig{})
				s := startServer(b, network, conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFixed}})
				conns := make(chan *conn.Conn, n)
				for range n {
					c := s.dialConn(b, conn.Config{}, g)
					if err := roundTrip(c); err != nil {
						b.Fatal(err)
					}
					conns <- c
				}
				b.ReportAllocs()
				b.SetBytes(2 * benchBytes)
				b.SetParallelism((n + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						c := <-conns
						if err := roundTrip(c); err != nil {
							b.Error(err)
						}
						conns <- c
					}
				})
			})
		}
	}
}

// BenchmarkDormant has the server's connection go dormant after each request: one
// arming, one event, one wake-up of a worker more than BenchmarkEcho.
func BenchmarkDormant(b *testing.B) {
	g := newGroup(b, conn.GroupConfig{MaxLingering: -1})
	s := startServer(b, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFixed}})
	c := s.dialConn(b, conn.Config{}, nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := roundTrip(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIsActive is what handing out a pooled connection costs.
func BenchmarkIsActive(b *testing.B) {
	for name, sweep := range map[string]time.Duration{"peek": time.Hour, "armed": time.Microsecond} {
		b.Run(name, func(b *testing.B) {
			g := newGroup(b, conn.GroupConfig{SweepPeriod: sweep})
			s := startServer(b, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFixed}})
			c := s.dialConn(b, conn.Config{}, g)
			if name == "armed" {
				time.Sleep(20 * time.Millisecond)
			}
			b.ReportAllocs()
			for b.Loop() {
				if !c.IsActive() {
					b.Fatal("not active")
				}
			}
		})
	}
}

// TestAllocations: in the steady state a round trip allocates nothing, on
// neither side, in no way of waiting.
func TestAllocations(t *testing.T) {
	if raceEnabled || checkedBuffers() {
		t.Skip("the race detector and buffercheck allocate")
	}
	for _, tc := range []struct {
		name   string
		group  conn.GroupConfig
		config conn.Config // the client's
	}{
		{"lingering", conn.GroupConfig{}, conn.Config{}},
		{"dormant", conn.GroupConfig{MaxLingering: -1}, conn.Config{}},
		{"timeouts", conn.GroupConfig{}, conn.Config{ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute}},
	} {
		for _, network := range networks {
			t.Run(tc.name+"/"+network, func(t *testing.T) {
				g := newGroup(t, tc.group)
				cfg := tc.config
				cfg.OnRequest = echoFixed
				s := startServer(t, network, conn.ServerConfig{Group: g, Config: cfg})
				c := s.dialConn(t, tc.config, g)
				const calls = 2000
				best := uint64(calls)
				for range 5 { // others of the process may allocate too
					best = min(best, mallocs(t, c, calls))
				}
				if best > calls/100 {
					t.Errorf("got %d allocations in %d round trips, want next to none", best, calls)
				}
			})
		}
	}
}

// mallocs counts the process's allocations during calls round trips.
func mallocs(t *testing.T, c *conn.Conn, calls int) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		if err := roundTrip(c); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// TestIsActiveAllocatesNothing: a pool asks before each call.
func TestIsActiveAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{OnRequest: echoFixed}})
	c := s.dialConn(t, conn.Config{}, nil)
	var active atomic.Bool
	if n := testing.AllocsPerRun(1000, func() { active.Store(c.IsActive()) }); n > 0 || !active.Load() {
		t.Errorf("got %v allocations, want 0", n)
	}
}
