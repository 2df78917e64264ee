package compiled

import (
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/buffer"
)

// arriving is a Source from which a message comes as from a socket. Like package conn's, it lets
// the buffer decide how much is read at a time. The copy stands for the kernel's.
type arriving struct{ left []byte }

func (a *arriving) Fill(b *buffer.LinkBuffer, n int) error {
	for b.Len() < n && len(a.left) > 0 {
		k := copy(b.Reserve(0), a.left)
		b.Commit(k)
		a.left = a.left[k:]
	}
	return nil
}

// netpollNode is what netpoll reads at a time from a new connection (v0.7.3, connection_impl.go).
const netpollNode = 8 << 10

// BenchmarkReceive compares receiving a message from a transport and decoding it: with netpoll's
// buffer and generated code, and with ours. In the row "netpoll" the message comes in nodes of the
// first size, as on a new connection. In "netpoll-grown" it comes in one node, as after messages of
// that length, which saves a copy.
func BenchmarkReceive(b *testing.B) {
	ballast(b)
	for _, m := range benchmarkMessages {
		message := thrift.FastMarshal(m.make())
		b.Run(m.name+"/netpoll", func(b *testing.B) { receiveByNetpoll(b, message, netpollNode, m.new) })
		b.Run(m.name+"/netpoll-grown", func(b *testing.B) { receiveByNetpoll(b, message, max(len(message), netpollNode), m.new) })
		b.Run(m.name+"/kiteline", func(b *testing.B) {
			plan := planOf(b, m.new())
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			var in buffer.LinkBuffer
			source := new(arriving)
			in.Bind(source, nil)
			for b.Loop() {
				source.left = message
				if _, err := in.Peek(4); err != nil { // as the reader of a header does
					b.Fatal(err)
				}
				frame, err := in.ReadFrame(len(message))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := plan.Decode(frame, m.new(), nil); err != nil {
					b.Fatal(err)
				}
				if err := in.Release(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// receiveByNetpoll receives and decodes message, which comes in nodes of the given size.
func receiveByNetpoll(b *testing.B, message []byte, node int, into func() thrift.FastCodec) {
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	in := netpoll.NewLinkBuffer(node)
	for b.Loop() {
		for left := message; len(left) > 0; {
			room, err := in.Malloc(min(node, len(left)))
			if err != nil {
				b.Fatal(err)
			}
			left = left[copy(room, left):]
		}
		if err := in.Flush(); err != nil {
			b.Fatal(err)
		}
		frame, err := in.Next(len(message))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := into().FastRead(frame); err != nil {
			b.Fatal(err)
		}
		if err := in.Release(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSend compares encoding a message into a transport's buffer, up to where the kernel would
// get it: with generated code and netpoll's buffer, and with ours.
func BenchmarkSend(b *testing.B) {
	ballast(b)
	for _, m := range benchmarkMessages {
		message := m.make()
		size := message.BLength()
		b.Run(m.name+"/netpoll", func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				out := netpoll.NewLinkBuffer()
				space, err := out.Malloc(message.BLength()) // Kitex must know it beforehand
				if err != nil {
					b.Fatal(err)
				}
				message.FastWriteNocopy(space, out)
				if err := out.MallocAck(size); err != nil {
					b.Fatal(err)
				}
				if err := out.Flush(); err != nil {
					b.Fatal(err)
				}
				if err := out.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(m.name+"/kiteline", func(b *testing.B) {
			plan := planOf(b, message)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var out buffer.LinkBuffer
			for b.Loop() {
				if err := plan.Encode(&out, message); err != nil {
					b.Fatal(err)
				}
				discard(b, &out)
			}
		})
	}
}
