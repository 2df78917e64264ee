package transport

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/transport"
)

// BenchmarkByteBuffer writes a message as a codec does, sends it through a
// connection to a plain peer that discards it, or reads what a peer sent.
func BenchmarkByteBuffer(b *testing.B) {
	for _, size := range []int{100, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprint("encode/", size), func(b *testing.B) {
			c, peer := newTestPair(b, newTestGroup(b))
			go func() { _, _ = io.Copy(io.Discard, peer) }()
			ctx, kitex, m := context.Background(), codec.NewDefaultCodec(), newMessage(payload(size), transport.Framed, remote.Server)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				out := newWriteBuffer(c)
				if err := kitex.Encode(ctx, m, out); err != nil {
					b.Fatal(err)
				}
				if err := out.Flush(); err != nil {
					b.Fatal(err)
				}
				if err := out.Release(nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint("read/", size), func(b *testing.B) {
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
}

// BenchmarkCall makes calls over pooled connections, end to end.
func BenchmarkCall(b *testing.B) {
	captureLogs(b)
	for _, size := range []int{100, 16 << 10} {
		b.Run(fmt.Sprint("serial/", size), func(b *testing.B) {
			g := newTestGroup(b)
			c, _ := newEcho(b, startEcho(b, g), client.WithSuite(NewClientSuite(WithGroup(g))))
			request := payload(size).Payload
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.EchoPayload(context.Background(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprint("parallel/", size), func(b *testing.B) {
			g := newTestGroup(b)
			c, _ := newEcho(b, startEcho(b, g), client.WithSuite(NewClientSuite(WithGroup(g))))
			request := payload(size).Payload
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.EchoPayload(context.Background(), request); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
