package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/transport"
)

// sizeName returns a size in the form for names of benchmarks: benchstat groups by key=value.
func sizeName(n int) string {
	if n >= 1<<10 && n%(1<<10) == 0 {
		return fmt.Sprintf("size=%dKiB", n>>10)
	}
	return fmt.Sprintf("size=%dB", n)
}

// BenchmarkByteBuffer measures what a message costs between Kitex's codec and the socket: encoded
// and sent to a plain peer that discards it; sent by a plain peer and read; and a buffer alone.
func BenchmarkByteBuffer(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 64 << 10} {
		b.Run("op=encode/"+sizeName(size), func(b *testing.B) {
			c, peer := newTestPair(b, newTestGroup(b))
			go func() { _, _ = io.Copy(io.Discard, peer) }()
			ctx, kitex, m := context.Background(), codec.NewDefaultCodec(), newMessage(payload(size), transport.Framed, remote.Server)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				out := newWriteBuffer(c)
				if err := errors.Join(kitex.Encode(ctx, m, out), out.Flush(), out.Release(nil)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("op=read/"+sizeName(size), func(b *testing.B) {
			c, peer := newTestPair(b, newTestGroup(b))
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := peer.Write(data); err != nil {
					b.Fatal(err)
				}
				in := newReadBuffer(c)
				if _, err := in.Next(size); err != nil {
					b.Fatal(err)
				}
				if err := in.Release(nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("op=new", func(b *testing.B) {
		c, _ := newTestPair(b, newTestGroup(b))
		b.ReportAllocs()
		for b.Loop() {
			if err := newReadBuffer(c).Release(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
