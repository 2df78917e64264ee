package compiled

import (
	"reflect"
	"runtime"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
	"github.com/kiteline/kiteline/transport/buffer"
)

var benchmarkMessages = []struct {
	name string
	make func() thrift.FastCodec
	new  func() thrift.FastCodec
}{
	{"mid0", func() thrift.FastCodec { return newMid(0) }, func() thrift.FastCodec { return zoo.NewMid() }},
	{"mid1K", func() thrift.FastCodec { return newMid(1 << 10) }, func() thrift.FastCodec { return zoo.NewMid() }},
	{"mid16K", func() thrift.FastCodec { return newMid(16 << 10) }, func() thrift.FastCodec { return zoo.NewMid() }},
	{"mid1M", func() thrift.FastCodec { return newMid(1 << 20) }, func() thrift.FastCodec { return zoo.NewMid() }},
	{"leaf", func() thrift.FastCodec { return &zoo.Leaf{Name: "name", Stamp: 1} }, func() thrift.FastCodec { return zoo.NewLeaf() }},
	{"texts100", func() thrift.FastCodec { return newTexts(100, 4<<10) }, func() thrift.FastCodec { return &zoo.Texts{} }},
	{"texts1000", func() thrift.FastCodec { return newTexts(1000, 4<<10) }, func() thrift.FastCodec { return &zoo.Texts{} }},
	{"short1000", func() thrift.FastCodec { return newTexts(1000, 40) }, func() thrift.FastCodec { return &zoo.Texts{} }},
}

// ballast makes the heap as large as that of a small server, so that collections are not more
// frequent than there.
func ballast(b *testing.B) {
	memory := make([]byte, 64<<20)
	b.Cleanup(func() { runtime.KeepAlive(memory) })
}

// BenchmarkDecode compares with generated code on the same bytes. The row "owned" includes the cost
// of a frame of its own: one allocation and a copy.
func BenchmarkDecode(b *testing.B) {
	ballast(b)
	for _, m := range benchmarkMessages {
		frame := thrift.FastMarshal(m.make())
		b.Run(m.name+"/fast", func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.new().FastRead(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(m.name+"/compiled", func(b *testing.B) {
			plan := planOf(b, m.new())
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := plan.Decode(frame, m.new(), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(m.name+"/owned", func(b *testing.B) {
			plan := planOf(b, m.new())
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				owned := append([]byte(nil), frame...)
				if _, err := plan.Decode(owned, m.new(), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	ballast(b)
	for _, m := range benchmarkMessages {
		message := m.make()
		size := int64(message.BLength())
		b.Run(m.name+"/fast", func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			var out buffer.LinkBuffer
			var w Writer = &out
			for b.Loop() {
				fastEncode(b, w, message)
				discard(b, &out)
			}
		})
		b.Run(m.name+"/compiled", func(b *testing.B) {
			plan := planOf(b, message)
			b.SetBytes(size)
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

// fastEncode does what Kitex does with a message and a writer that links.
//
//go:noinline
func fastEncode(b *testing.B, out Writer, message thrift.FastCodec) {
	space, err := out.Malloc(message.BLength())
	if err != nil {
		b.Fatal(err)
	}
	size := out.MallocLen()
	message.FastWriteNocopy(space, out)
	if err := out.MallocAck(size); err != nil {
		b.Fatal(err)
	}
}

func discard(b *testing.B, out *buffer.LinkBuffer) {
	if err := out.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := out.Skip(out.Len()); err != nil {
		b.Fatal(err)
	}
	if err := out.Release(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOf measures the first call for a type, including the types below it.
func BenchmarkOf(b *testing.B) {
	for _, v := range []any{&zoo.Leaf{}, &zoo.Mid{}, &zoo.Everything{}} {
		b.Run(reflect.TypeOf(v).Elem().Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				plans.Forget(nil)
				planOf(b, v)
			}
		})
	}
}
