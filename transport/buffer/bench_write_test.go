package buffer

import (
	"fmt"
	"testing"
)

// BenchmarkMalloc: what does a message cost from the first Malloc to the Flush, by its number of
// fields?
func BenchmarkMalloc(b *testing.B) {
	for _, fields := range []int{1, 10, 100} {
		for _, size := range []int{16, 1 << 10} {
			b.Run(fmt.Sprintf("fields=%d/%s", fields, sizeName(size)), func(b *testing.B) {
				var buf LinkBuffer
				buf.Bind(nil, &discardSink{})
				b.ReportAllocs()
				for b.Loop() {
					for range fields {
						buf.Malloc(size)
					}
					buf.Flush()
				}
			})
		}
	}
}

// BenchmarkWrite: from which size on is keeping a reference, as Link always does, cheaper than the
// copy? WriteBinary changes over at 4 KiB. A header of four bytes goes before.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{64, 1 << 10, 4<<10 - 1, 4 << 10, 64 << 10} {
		p := make([]byte, size)
		for _, op := range []struct {
			name  string
			write func(buf *LinkBuffer)
		}{
			{"WriteBinary", func(buf *LinkBuffer) { buf.WriteBinary(p) }},
			{"Link", func(buf *LinkBuffer) { buf.Link(p) }},
		} {
			b.Run(fmt.Sprintf("op=%s/%s", op.name, sizeName(size)), func(b *testing.B) {
				var buf LinkBuffer
				buf.Bind(nil, &discardSink{})
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					buf.Malloc(4)
					op.write(&buf)
					buf.Flush()
				}
			})
		}
	}
}

// BenchmarkWriteDirect: does the cost of one string, written as by Kitex's fast codec, stay the
// same however many strings the message has?
func BenchmarkWriteDirect(b *testing.B) {
	p := make([]byte, 4<<10)
	for _, n := range []int{10, 100, 1000, 4000} {
		b.Run(fmt.Sprintf("strings=%d/%s", n, sizeName(len(p))), func(b *testing.B) {
			var buf LinkBuffer
			buf.Bind(nil, &discardSink{})
			total := n * (4 + len(p))
			b.ReportAllocs()
			for b.Loop() {
				buf.Malloc(total)
				for i := range n {
					buf.WriteDirect(p, total-4*(i+1))
				}
				buf.MallocAck(total)
				buf.Flush()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/string")
		})
	}
}

// BenchmarkAppend: does it cost less to append a separately written buffer to another than to copy
// its bytes?
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(sizeName(size), func(b *testing.B) {
			var buf, part LinkBuffer
			buf.Bind(nil, &discardSink{})
			b.ReportAllocs()
			for b.Loop() {
				part.Malloc(size)
				buf.Malloc(4)
				buf.Append(&part)
				buf.Flush()
			}
		})
	}
}
