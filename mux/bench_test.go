package mux

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/mux/muxserver"
)

// bareEcho is the least a multiplexing server can do: it sends back what it reads, and
// flushes when nothing more has come.
func bareEcho(nc net.Conn) {
	defer nc.Close()
	p := testpeer.NewServer(nc, true)
	first, err := p.Receive()
	if err != nil || p.Reply(first.SeqID, first.Payload) != nil {
		return
	}
	out := bufio.NewWriterSize(nc, 64<<10)
	space := make([]byte, 1<<20)
	for {
		start, err := p.In.Peek(frame.PrefixBytes)
		if err != nil {
			return
		}
		pre, err := frame.Parse(start, len(space))
		if err != nil {
			return
		}
		if _, err := io.ReadFull(p.In, space[:pre.Bytes]); err != nil {
			return
		}
		if _, err := out.Write(space[:pre.Bytes]); err != nil {
			return
		}
		if p.In.Buffered() < frame.PrefixBytes && out.Flush() != nil {
			return
		}
	}
}

// BenchmarkEcho makes calls of 1 KiB over loopback, client and server in one process.
func BenchmarkEcho(b *testing.B) {
	payload := make([]byte, 1<<10)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for _, bb := range []struct {
		name    string
		callers int
		conns   int
		ctx     context.Context
		timeout time.Duration
	}{
		{"shared/callers=1/conns=1", 1, 1, context.Background(), 0},
		{"shared/callers=10/conns=1", 10, 1, context.Background(), 0},
		{"shared/callers=10/conns=8", 10, 8, context.Background(), 0},
		{"shared/callers=100/conns=1", 100, 1, context.Background(), 0},
		{"shared/callers=100/conns=1/deadline", 100, 1, context.Background(), time.Minute},
		{"shared/callers=100/conns=1/cancel", 100, 1, ctx, 0},
		{"shared/callers=100/conns=2", 100, 2, context.Background(), 0},
		{"shared/callers=100/conns=4", 100, 4, context.Background(), 0},
		{"shared/callers=100/conns=8", 100, 8, context.Background(), 0},
		{"shared/callers=1000/conns=1", 1000, 1, context.Background(), 0},
		{"shared/callers=1000/conns=8", 1000, 8, context.Background(), 0},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := newTestSet(b, Config{Dial: loopback(b, testGroup(b), bareEcho), MaxConns: bb.conns})
			if _, err := roundTrip(b.Context(), s, payload, 0); err != nil {
				b.Fatal(err)
			}
			before := s.Stats()
			callAll(b, bb.callers, func() error { return benchCall(bb.ctx, s, payload, bb.timeout) })
			st := s.Stats()
			b.ReportMetric(float64(st.Frames-before.Frames)/float64(st.Writes-before.Writes), "frames/write")
		})
	}
}

// callAll has that many callers make b.N calls, and reports what they allocate.
func callAll(b *testing.B, callers int, call func() error) {
	b.ReportAllocs()
	b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBothEnds makes calls of 1 KiB between the package's client and its server,
// over loopback, by the number of connections.
func BenchmarkBothEnds(b *testing.B) {
	payload := make([]byte, 1<<10)
	for _, callers := range []int{1, 10, 100, 1000} {
		for _, conns := range []int{1, 2, 4, 8, 16} {
			if conns > callers {
				continue
			}
			b.Run(fmt.Sprintf("callers=%d/conns=%d", callers, conns), func(b *testing.B) {
				srv := startServer(b, muxserver.Config{Handler: answering(echoing)})
				s := newTestSet(b, Config{Dial: dialTo(b, srv.Addr.String), MaxConns: conns})
				connect(b, s)
				callAll(b, callers, func() error { return benchCall(context.Background(), s, payload, 0) })
			})
		}
	}
}

// benchCall is roundTrip without reading the reply.
func benchCall(ctx context.Context, s *Set, payload []byte, timeout time.Duration) error {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	c, err := s.Begin(ctx, deadline)
	if err != nil {
		return err
	}
	defer c.End()
	b := c.Request()
	p, err := b.Malloc(frame.PrefixBytes + 4)
	if err != nil {
		return err
	}
	testpeer.AppendPrefix(p[:0], c.SeqID(), len(payload))
	if _, err := b.WriteBinary(payload); err != nil {
		return err
	}
	if err := c.Send(); err != nil {
		return err
	}
	r, err := c.Receive()
	if err != nil {
		return err
	}
	if r.Len() < frame.PrefixBytes+4+len(payload) {
		return fmt.Errorf("got %d bytes", r.Len())
	}
	return nil
}

// BenchmarkTable takes a slot and gives it back, with 100 calls in flight.
func BenchmarkTable(b *testing.B) {
	var t table
	for range 100 {
		t.put(new(Call))
	}
	c := new(Call)
	b.ReportAllocs()
	for b.Loop() {
		if t.take(t.put(c)) != c {
			b.Fatal("lost")
		}
	}
}
