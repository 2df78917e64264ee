package transport

import (
	"context"
	"net"
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
func (*benchConn) RemoteAddr() net.Addr { return poolAddr{"tcp", fakeAddress} }

type benchDialer struct{}

func (benchDialer) DialTimeout(string, string, time.Duration) (net.Conn, error) {
	return &benchConn{}, nil
}

func benchmarkPools(b *testing.B, run func(b *testing.B, p remote.ConnPool)) {
	const idle, timeout = 1000, time.Minute
	b.Run("pool=kiteline", func(b *testing.B) {
		p := NewPool("bench", PoolConfig{MaxIdlePerAddress: idle, MaxIdleGlobal: idle, MaxIdleTimeout: timeout})
		defer p.Close()
		run(b, p)
	})
	b.Run("pool=limited", func(b *testing.B) {
		p := NewPool("bench", PoolConfig{
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

func BenchmarkPoolReuse(b *testing.B) {
	benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
		b.ReportAllocs()
		for b.Loop() {
			_ = p.Put(benchGet(b, p, fakeAddress))
		}
	})
}

func BenchmarkPoolReuseParallel(b *testing.B) {
	benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = p.Put(benchGet(b, p, fakeAddress))
			}
		})
	})
}

func BenchmarkPoolReuseParallelAddresses(b *testing.B) {
	addresses := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"}
	benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
		b.ReportAllocs()
		var next atomic.Uint32
		b.RunParallel(func(pb *testing.PB) {
			address := addresses[next.Add(1)%uint32(len(addresses))]
			for pb.Next() {
				_ = p.Put(benchGet(b, p, address))
			}
		})
	})
}

func BenchmarkPoolDial(b *testing.B) {
	benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
		b.ReportAllocs()
		for b.Loop() {
			_ = p.Discard(benchGet(b, p, fakeAddress))
		}
	})
}

// BenchmarkPoolReuseReal is over a loopback socket: with the system calls that
// tell whether the connection is fit for use. Kitex's pool asks IsActive alone, which relies on the
// poller for a connection that was not used for a while, as here.
func BenchmarkPoolReuseReal(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	address := ln.Addr().String()
	benchmarkPools(b, func(b *testing.B, p remote.ConnPool) {
		opt := remote.ConnOption{Dialer: NewDialer(WithGroup(newTestGroup(b))), ConnectTimeout: time.Second}
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
