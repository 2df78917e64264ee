package buffer

import (
	"fmt"
	"testing"
)

// sizeName returns a size as part of a benchmark's name: benchstat groups by key=value.
func sizeName(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("size=%dMiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("size=%dKiB", n>>10)
	}
	return fmt.Sprintf("size=%dB", n)
}

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

// endlessSource delivers what it is asked for, without touching the memory.
type endlessSource struct{ most int }

func (s *endlessSource) Fill(b *LinkBuffer, need int) error {
	for b.Len() < need {
		b.Commit(min(len(b.Reserve(0)), s.most))
	}
	return nil
}

// BenchmarkReacquire: what does it cost a connection to hold no memory between requests, and do
// processors get into each other's way at the pools?
func BenchmarkReacquire(b *testing.B) {
	for _, size := range []int{100, 64 << 10} {
		cycle := func(buf *LinkBuffer) {
			buf.Reserve(size)
			buf.Commit(size)
			buf.Next(size)
			buf.Release()
		}
		b.Run(sizeName(size)+"/mode=serial", func(b *testing.B) {
			var buf LinkBuffer
			b.ReportAllocs()
			for b.Loop() {
				cycle(&buf)
			}
		})
		b.Run(sizeName(size)+"/mode=parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var buf LinkBuffer
				for pb.Next() {
					cycle(&buf)
				}
			})
		})
	}
}
