package pool

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	kitexconfig "github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/connpool"
)

// benchConn is always active, and costs nothing.
type benchConn struct{ net.Conn }

func (*benchConn) IsActive() bool       { return true }
func (*benchConn) Close() error         { return nil }
func (*benchConn) RemoteAddr() net.Addr { return netAddr{"tcp", fakeAddress} }

type benchDialer struct{}

func (benchDialer) DialTimeout(string, string, time.Duration) (net.Conn, error) {
	return &benchConn{}, nil
}

// benchmarkPools runs run on our pool, on ours with every limit set, and on Kitex's.
func benchmarkPools(b *testing.B, run func(b *testing.B, p remote.ConnPool)) {
	const idle, timeout = 1000, time.Minute
	b.Run("pool=kiteline", func(b *testing.B) {
		p := New("bench", Config{MaxIdlePerAddress: idle, MaxIdleGlobal: idle, MaxIdleTimeout: timeout})
		defer p.Close()
		run(b, p)
	})
	b.Run("pool=limited", func(b *testing.B) {
		p := New("bench", Config{
			MaxIdlePerAddress: idle, MaxIdleGlobal: idle, MaxIdleTimeout: timeout,
			MaxConnsPerAddress: idle, MaxAge: time.Hour,
		})
		defer p.Close()
		run(b, p)
	})
	b.Run("pool=kitex", func(b *testing.B) {
		p := connpool.NewLongPool("bench", kitexconfig.IdleConfig{
			MaxIdlePerAddress: idle, MaxIdleGlobal: idle, MaxIdleTimeout: timeout,
		})
		defer p.Close()
		run(b, p)
	})
}

var benchOption = remote.ConnOption{Dialer: benchDialer{}, ConnectTimeout: time.Second}

func benchGet(b *testing.B, p remote.ConnPool, address string) net.Conn {
	c, err := p.Get(context.Background(), "tcp", address, benchOption)
	if err != nil {
		b.Error(err)
	}
	return c
}

// BenchmarkPoolReuse measures what a call pays to take an idle connection and put it back, and
// whether callers get into each other's way, with one address and with several. No socket is
// involved.
func BenchmarkPoolReuse(b *testing.B) {
	addresses := []string{fakeAddress, "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"}
	b.Run("mode=serial/addresses=1", func(b *testing.B) {
		benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
			b.ReportAllocs()
			for b.Loop() {
				_ = p.Put(benchGet(b, p, fakeAddress))
			}
		})
	})
	for _, n := range []int{1, len(addresses)} {
		b.Run(fmt.Sprintf("mode=parallel/addresses=%d", n), func(b *testing.B) {
			benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
				b.ReportAllocs()
				var next atomic.Uint32
				b.RunParallel(func(pb *testing.PB) {
					address := addresses[int(next.Add(1))%n]
					for pb.Next() {
						_ = p.Put(benchGet(b, p, address))
					}
				})
			})
		})
	}
}

// BenchmarkPoolWait measures what a call pays that waits for its turn: connections are limited, and
// each processor has eight callers.
func BenchmarkPoolWait(b *testing.B) {
	for _, limit := range []int{1, 4} {
		b.Run(fmt.Sprintf("conns=%d", limit), func(b *testing.B) {
			p := New("bench", Config{MaxConnsPerAddress: limit})
			defer p.Close()
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c := benchGet(b, p, fakeAddress)
					runtime.Gosched() // stands for the call: others come meanwhile
					_ = p.Put(c)
				}
			})
			b.ReportMetric(float64(p.Stats().Waits)/float64(b.N), "waits/op")
		})
	}
}

// BenchmarkPoolDial measures what the pool adds to a connection that is dialed and not kept.
func BenchmarkPoolDial(b *testing.B) {
	benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
		b.ReportAllocs()
		for b.Loop() {
			_ = p.Discard(benchGet(b, p, fakeAddress))
		}
	})
}

// BenchmarkPoolReuseSocket measures a reuse over a loopback socket, with the system calls that tell
// whether the connection is fit for use. Kitex's pool asks only IsActive, which relies on the
// poller for a connection that was not used for a while, as here.
func BenchmarkPoolReuseSocket(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	address := ln.Addr().String()
	benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
		opt := remote.ConnOption{Dialer: newGroupDialer(b), ConnectTimeout: time.Second}
		b.ReportAllocs()
		for b.Loop() {
			c, err := p.Get(context.Background(), "tcp", address, opt)
			if err != nil {
				b.Fatal(err)
			}
			_ = p.Put(c)
		}
	})
}

// BenchmarkMux measures what a place costs when the pool knows few or many addresses, and what
// a new address costs.
func BenchmarkMux(b *testing.B) {
	over, cancel := context.WithCancel(context.Background())
	cancel() // so that nothing is dialed
	d := &silentDialer{}
	opt := d.option()
	for _, known := range []int{1, 15_000} {
		pool := NewMux("bench", MuxConfig{})
		for i := range known - 1 {
			_, _ = pool.Get(over, "tcp", fmt.Sprintf("10.0.%d.%d:80", i/250, i%250), opt)
		}
		b.Run(fmt.Sprintf("known=%d/place", known), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c, err := pool.Get(context.Background(), "tcp", fakeAddress, opt)
				if err != nil {
					b.Fatal(err)
				}
				_ = pool.Put(c)
			}
		})
		b.Run(fmt.Sprintf("known=%d/address", known), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				_, _ = pool.Get(over, "tcp", fmt.Sprintf("10.1.%d.%d:80", n/250, n%250), opt)
			}
		})
		_ = pool.Close()
	}
	d.peers.Wait()
}
