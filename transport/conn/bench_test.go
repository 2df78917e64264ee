package conn_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// smallBytes is the message of the benchmarks that are not about sizes.
const smallBytes = 1 << 10

// echoFixed returns a handler that answers messages of size bytes.
func echoFixed(size int) func(context.Context, *conn.Conn) error {
	return func(_ context.Context, c *conn.Conn) error {
		p, err := c.Reader().Next(size)
		if err != nil {
			return err
		}
		buf, err := c.Writer().Malloc(size)
		if err != nil {
			return err
		}
		copy(buf, p)
		return c.Writer().Flush()
	}
}

// roundTrip sends size bytes and waits for the answer.
func roundTrip(c *conn.Conn, size int) error {
	buf, err := c.Writer().Malloc(size)
	if err != nil {
		return err
	}
	clear(buf)
	if err := c.Writer().Flush(); err != nil {
		return err
	}
	if _, err := c.Reader().Next(size); err != nil {
		return err
	}
	return c.Reader().Release()
}

// loopRoundTrips measures round trips one after the other, after a first one.
func loopRoundTrips(b *testing.B, c *conn.Conn, size int) {
	b.Helper()
	testkit.Must(b, roundTrip(c, size))
	b.SetBytes(2 * int64(size))
	b.ReportAllocs()
	for b.Loop() {
		testkit.Must(b, roundTrip(c, size))
	}
}

// BenchmarkEcho: what does an exchange cost, client included, by kind of socket, by size, and by
// the number of busy connections?
func BenchmarkEcho(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		for _, size := range []struct {
			name  string
			bytes int
		}{{"1KiB", smallBytes}, {"64KiB", 64 << 10}, {"1MiB", 1 << 20}} {
			b.Run(fmt.Sprintf("network=%s/size=%s/conns=1", network, size.name), func(b *testing.B) {
				g := newGroup(b, conn.GroupConfig{})
				s := startServer(b, network, conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFixed(size.bytes)}})
				loopRoundTrips(b, s.dialConn(b, conn.Config{}, g), size.bytes)
			})
		}
		for _, n := range []int{10, 100} {
			b.Run(fmt.Sprintf("network=%s/size=1KiB/conns=%d", network, n), func(b *testing.B) {
				benchmarkConns(b, network, n)
			})
		}
	}
}

// benchmarkConns makes round trips on n connections at once.
func benchmarkConns(b *testing.B, network string, n int) {
	g := newGroup(b, conn.GroupConfig{})
	s := startServer(b, network, conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFixed(smallBytes)}})
	conns := make(chan *conn.Conn, n)
	for range n {
		c := s.dialConn(b, conn.Config{}, g)
		testkit.Must(b, roundTrip(c, smallBytes))
		conns <- c
	}
	procs := runtime.GOMAXPROCS(0)
	b.SetBytes(2 * smallBytes)
	b.ReportAllocs()
	b.SetParallelism((n + procs - 1) / procs)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := <-conns // a surplus goroutine gets one when the work is done
		defer func() { conns <- c }()
		for pb.Next() {
			if err := roundTrip(c, smallBytes); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkPath: what does an exchange cost if the server's connection lingers, if a poller
// reports it (its arming stays, as in a crowd), and if it has a goroutine of its own?
func BenchmarkPath(b *testing.B) {
	for _, path := range []struct {
		name  string
		group *conn.GroupConfig // nil: none
	}{
		{"lingering", &conn.GroupConfig{}},
		{"dormant", &conn.GroupConfig{MaxLingering: -1}},
		{"goroutine", nil},
	} {
		b.Run("path="+path.name, func(b *testing.B) {
			if path.name == "dormant" && !hasPoller(b) {
				b.Skip("no poller")
			}
			var g *conn.Group
			if path.group != nil {
				g = newGroup(b, *path.group)
			}
			client, server := netPair(b, "tcp")
			served := newConn(b, server, conn.Config{OnRequest: echoFixed(smallBytes)}, g)
			b.Cleanup(func() { served.Close() })
			c := newConn(b, client, conn.Config{}, nil)
			b.Cleanup(func() { c.Close() })
			loopRoundTrips(b, c, smallBytes)
		})
	}
}

// BenchmarkTimeouts: what do a read and a write timeout add to an exchange?
func BenchmarkTimeouts(b *testing.B) {
	for _, timeout := range []struct {
		name   string
		config conn.Config
	}{
		{"none", conn.Config{}},
		{"1m", conn.Config{ReadTimeout: time.Minute, WriteTimeout: time.Minute}},
	} {
		b.Run("timeout="+timeout.name, func(b *testing.B) {
			g := newGroup(b, conn.GroupConfig{})
			s := startServer(b, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFixed(smallBytes)}})
			loopRoundTrips(b, s.dialConn(b, timeout.config, g), smallBytes)
		})
	}
}

// BenchmarkDial: what does a connection cost that carries one exchange and is closed?
func BenchmarkDial(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		b.Run("network="+network, func(b *testing.B) {
			g := newGroup(b, conn.GroupConfig{})
			s := startServer(b, network, conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFixed(smallBytes)}})
			d := conn.Dialer{Group: g}
			b.ReportAllocs()
			for b.Loop() {
				c, err := d.DialTimeout(network, s.address, patience)
				testkit.Must(b, err)
				testkit.Must(b, roundTrip(c, smallBytes))
				avoidTimeWait(c.NetConn())
				c.Close()
			}
		})
	}
}

// avoidTimeWait makes nc's Close reset a TCP connection, so that a benchmark does not run out of
// ports.
func avoidTimeWait(nc net.Conn) {
	if tc, ok := nc.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
}

// BenchmarkOpen: what does it cost to make a connection of a socket and to close it, in time and
// memory? kind=net is the socket alone, dormant one armed for its handler, user one without.
func BenchmarkOpen(b *testing.B) {
	for _, kind := range []struct {
		name   string
		config *conn.Config // nil: the socket alone
	}{
		{"net", nil},
		{"user", &conn.Config{}},
		{"dormant", &conn.Config{OnRequest: echoFixed(smallBytes)}},
	} {
		b.Run("kind="+kind.name, func(b *testing.B) {
			g := newGroup(b, conn.GroupConfig{})
			ln := listen(b, "unix")
			defer ln.Close()
			address := ln.Addr().String()
			b.ReportAllocs()
			for b.Loop() {
				peer := dial(b, "unix", address)
				nc, err := ln.Accept()
				testkit.Must(b, err)
				if kind.config != nil {
					if nc, err = conn.New(nc, *kind.config, g); err != nil {
						b.Fatal(err)
					}
				}
				nc.Close()
				peer.Close()
			}
		})
	}
}

// BenchmarkActive: what does a pool pay to know that a connection is fit for use? For one that was
// just used it costs a system call; for an unused one the poller has the answer.
func BenchmarkActive(b *testing.B) {
	for _, check := range []struct {
		name  string
		sweep time.Duration
		ask   func(c *conn.Conn) bool
	}{
		{"op=IsActive/state=user", time.Hour, (*conn.Conn).IsActive},
		{"op=IsActive/state=watched", time.Millisecond, (*conn.Conn).IsActive},
		{"op=IsReusable/state=user", time.Hour, (*conn.Conn).IsReusable},
	} {
		b.Run(check.name, func(b *testing.B) {
			g := newGroup(b, conn.GroupConfig{SweepPeriod: check.sweep})
			s := startServer(b, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{OnRequest: echoFixed(smallBytes)}})
			c := s.dialConn(b, conn.Config{}, g)
			if check.sweep < time.Hour {
				if !hasPoller(b) {
					b.Skip("no poller")
				}
				testkit.Eventually(b, "watched", func() bool { return conn.IsWatched(c) })
			}
			b.ReportAllocs()
			for b.Loop() {
				if !check.ask(c) {
					b.Fatal("not fit for use")
				}
			}
		})
	}
}
