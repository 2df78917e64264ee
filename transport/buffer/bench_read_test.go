package buffer

import (
	"fmt"
	"testing"
)

// BenchmarkRead: what does it cost to read a field whose bytes are there, by method and size? The
// buffer's refill, every 64 KiB, is part of it.
func BenchmarkRead(b *testing.B) {
	const delim = '\n'
	ops := []struct {
		name  string
		sizes []int
		read  func(buf *LinkBuffer, n int)
	}{
		{"ReadByte", []int{1}, func(buf *LinkBuffer, _ int) { buf.ReadByte() }},
		{"Next", []int{64, 4 << 10}, func(buf *LinkBuffer, n int) { buf.Next(n) }},
		{"Peek+Skip", []int{64, 4 << 10}, func(buf *LinkBuffer, n int) { buf.Peek(n); buf.Skip(n) }},
		{"Until", []int{64, 4 << 10}, func(buf *LinkBuffer, _ int) { buf.Until(delim) }},
		{"ReadString", []int{64, 4 << 10}, func(buf *LinkBuffer, n int) { buf.ReadString(n) }},
		{"ReadBinary", []int{64, 4 << 10}, func(buf *LinkBuffer, n int) { buf.ReadBinary(n) }},
	}
	for _, op := range ops {
		for _, size := range op.sizes {
			b.Run(fmt.Sprintf("op=%s/%s", op.name, sizeName(size)), func(b *testing.B) {
				data := make([]byte, 64<<10)
				for i := size - 1; i < len(data); i += size {
					data[i] = delim
				}
				var buf LinkBuffer
				b.ReportAllocs()
				for b.Loop() {
					if buf.Len() == 0 {
						buf.Release()
						buf.Link(data)
						buf.Flush()
					}
					op.read(&buf, size)
				}
			})
		}
	}
}

// takes are the ways to take a whole frame out of a buffer.
var takes = []struct {
	name string
	take func(buf *LinkBuffer, n int)
}{
	{"Next", func(buf *LinkBuffer, n int) { buf.Next(n); buf.Release() }},
	{"ReadFrame", func(buf *LinkBuffer, n int) { buf.ReadFrame(n); buf.Release() }},
	{"Slice", func(buf *LinkBuffer, n int) {
		part, _ := buf.Slice(n)
		part.Skip(n)
		part.Release()
	}},
}

// BenchmarkFrame: which way to take a frame that has not arrived yet is the cheapest at which size?
// The source only pretends to read.
func BenchmarkFrame(b *testing.B) {
	for _, op := range takes {
		for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("op=%s/%s", op.name, sizeName(size)), func(b *testing.B) {
				var buf LinkBuffer
				buf.Bind(&endlessSource{most: size}, nil)
				b.ReportAllocs()
				for b.Loop() {
					op.take(&buf, size)
				}
			})
		}
	}
}

// BenchmarkPieces: what does a frame cost that lies in the buffer in pieces of 4 KiB? Next and
// ReadFrame must bring it together.
func BenchmarkPieces(b *testing.B) {
	piece := make([]byte, 4<<10)
	for _, op := range takes {
		for _, size := range []int{8 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("op=%s/%s", op.name, sizeName(size)), func(b *testing.B) {
				var buf LinkBuffer
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					for range size / len(piece) {
						buf.Link(piece)
					}
					buf.Flush()
					op.take(&buf, size)
				}
			})
		}
	}
}
