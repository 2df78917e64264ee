//go:build !windows

package netpollconn_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// benchReader and benchWriter are what the readers and writers of a bare connection and of netpoll
// have in common.
type benchReader interface {
	Next(n int) ([]byte, error)
	Peek(n int) ([]byte, error)
	Release() error
}

type benchWriter interface {
	Malloc(n int) ([]byte, error)
	MallocAck(n int) error
	Flush() error
}

// side is one end of a connection, and its plain peer.
type side struct {
	in   benchReader
	out  benchWriter
	peer io.ReadWriter
}

// benchmarkSides runs run on a bare connection, on one seen as netpoll's, and on netpoll's own.
func benchmarkSides(b *testing.B, run func(b *testing.B, s side)) {
	b.Run("conn=bare", func(b *testing.B) {
		c, peer := ours(b)
		run(b, side{c.Conn.Reader(), c.Conn.Writer(), peer})
	})
	b.Run("conn=adapter", func(b *testing.B) {
		c, peer := ours(b)
		run(b, side{c.Reader(), c.Writer(), peer})
	})
	b.Run("conn=netpoll", func(b *testing.B) {
		c, peer := kinds[0].pair(b)
		run(b, side{c.Reader(), c.Writer(), peer})
	})
}

// BenchmarkPeek measures what the adapter adds to a read of bytes that have arrived.
func BenchmarkPeek(b *testing.B) {
	benchmarkSides(b, func(b *testing.B, s side) {
		if _, err := s.peer.Write(make([]byte, 64)); err != nil {
			b.Fatal(err)
		}
		if _, err := s.in.Peek(64); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.in.Peek(64); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMalloc measures what the adapter adds to a write without a system call.
func BenchmarkMalloc(b *testing.B) {
	benchmarkSides(b, func(b *testing.B, s side) {
		if _, err := s.out.Malloc(1); err != nil { // so that a block stays
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.out.Malloc(64); err != nil {
				b.Fatal(err)
			}
			testkit.Must(b, s.out.MallocAck(1))
		}
	})
}

// BenchmarkRoundTrip measures whether the adapter shows in an exchange, system calls included, and
// what the same exchange costs over netpoll's own connection.
func BenchmarkRoundTrip(b *testing.B) {
	for _, kib := range []int{1, 16} {
		b.Run(fmt.Sprintf("size=%dKiB", kib), func(b *testing.B) {
			benchmarkSides(b, func(b *testing.B, s side) { loopRoundTrips(b, s, kib<<10) })
		})
	}
}

// loopRoundTrips sends size bytes to the peer and back, all on this goroutine.
func loopRoundTrips(b *testing.B, s side, size int) {
	data := make([]byte, size)
	b.SetBytes(2 * int64(size))
	b.ReportAllocs()
	for b.Loop() {
		p, err := s.out.Malloc(size)
		testkit.Must(b, err)
		clear(p)
		testkit.Must(b, s.out.Flush())
		if _, err := io.ReadFull(s.peer, data); err != nil {
			b.Fatal(err)
		}
		if _, err := s.peer.Write(data); err != nil {
			b.Fatal(err)
		}
		if _, err := s.in.Next(size); err != nil {
			b.Fatal(err)
		}
		testkit.Must(b, s.in.Release())
	}
}

// BenchmarkAppend measures what it costs to send a netpoll LinkBuffer, which is taken by reference.
func BenchmarkAppend(b *testing.B) {
	for _, kib := range []int{1, 16} {
		for i, name := range []string{"netpoll", "adapter"} {
			b.Run(fmt.Sprintf("size=%dKiB/conn=%s", kib, name), func(b *testing.B) {
				c, peer := kinds[i].pair(b)
				data, got := make([]byte, kib<<10), make([]byte, kib<<10)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					part := netpoll.NewLinkBuffer()
					_, err := part.WriteBinary(data)
					testkit.Must(b, err)
					testkit.Must(b, c.Writer().Append(part))
					testkit.Must(b, c.Writer().Flush())
					_, err = io.ReadFull(peer, got)
					testkit.Must(b, err)
				}
			})
		}
	}
}

// BenchmarkOf measures what it costs to ask again for a connection's adapter, as each callback
// does.
func BenchmarkOf(b *testing.B) {
	c, _ := ours(b)
	b.ReportAllocs()
	for b.Loop() {
		if netpollconn.Of(c.Conn) != c {
			b.Fatal("another one")
		}
	}
}
