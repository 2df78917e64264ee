package buffer

import (
	"fmt"
	"testing"
)

// discardSink takes everything, as writev would.
type discardSink struct{ list [][]byte }

func (s *discardSink) Drain(b *LinkBuffer) error {
	for b.Len() > 0 {
		s.list = b.Gather(s.list[:0], 1024)
		n := 0
		for _, p := range s.list {
			n += len(p)
		}
		b.Discard(n)
	}
	clear(s.list)
	return nil
}

// endlessSource fills what it is asked for, without touching the memory.
type endlessSource struct{ most int }

func (s *endlessSource) Fill(b *LinkBuffer, need int) error {
	for b.Len() < need {
		b.Commit(min(len(b.Reserve(0)), s.most))
	}
	return nil
}

func BenchmarkNext(b *testing.B) {
	var buf LinkBuffer
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; {
		buf.Malloc(64 << 10)
		buf.Flush()
		for range 1024 {
			buf.Next(64)
		}
		buf.Release()
		i += 1024
	}
}

func BenchmarkPeekSkip(b *testing.B) {
	var buf LinkBuffer
	b.ReportAllocs()
	for i := 0; i < b.N; {
		buf.Malloc(64 << 10)
		buf.Flush()
		for range 1024 {
			buf.Peek(64)
			buf.Skip(64)
		}
		buf.Release()
		i += 1024
	}
}

func BenchmarkMallocFlush(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("mallocs=%d", n), func(b *testing.B) {
			var buf LinkBuffer
			buf.Bind(nil, &discardSink{})
			b.ReportAllocs()
			for b.Loop() {
				for range n {
					buf.Malloc(100)
				}
				buf.Flush()
			}
		})
	}
}

func BenchmarkLinkFlush(b *testing.B) {
	var buf LinkBuffer
	buf.Bind(nil, &discardSink{})
	p := make([]byte, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		buf.Malloc(4)
		buf.Link(p)
		buf.Flush()
	}
}

// BenchmarkWriteDirect writes strings of 4 KiB as Kitex's fast codec does.
func BenchmarkWriteDirect(b *testing.B) {
	p := make([]byte, 4<<10)
	for _, n := range []int{10, 100, 1000, 4000} {
		write := func(buf *LinkBuffer) {
			total := n * (4 + len(p))
			buf.Malloc(total)
			for i := range n {
				buf.WriteDirect(p, total-4*(i+1))
			}
			buf.MallocAck(total)
		}
		b.Run(fmt.Sprintf("strings=%d/insert", n), func(b *testing.B) {
			var buf LinkBuffer
			b.ReportAllocs()
			for b.Loop() {
				write(&buf)
				b.StopTimer()
				buf.drop()
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprintf("strings=%d/insert+flush", n), func(b *testing.B) {
			var buf LinkBuffer
			buf.Bind(nil, &discardSink{})
			b.ReportAllocs()
			for b.Loop() {
				write(&buf)
				buf.Flush()
			}
		})
	}
}

func BenchmarkSlice(b *testing.B) {
	var buf LinkBuffer
	buf.Bind(&endlessSource{most: 1024}, nil)
	b.ReportAllocs()
	for b.Loop() {
		part, _ := buf.Slice(1024)
		part.Next(1024)
		part.(*LinkBuffer).Close()
	}
}

func BenchmarkReadFrame(b *testing.B) {
	for _, n := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			var buf LinkBuffer
			buf.Bind(&endlessSource{most: 64 << 10}, nil)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				buf.ReadFrame(n)
				buf.Release()
			}
		})
	}
}

// BenchmarkReacquire is what a connection pays for holding no memory between requests.
func BenchmarkReacquire(b *testing.B) {
	var buf LinkBuffer
	b.ReportAllocs()
	for b.Loop() {
		buf.Reserve(0)
		buf.Commit(100)
		buf.Next(100)
		buf.Release()
	}
}
