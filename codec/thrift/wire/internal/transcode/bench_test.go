package transcode

import (
	"testing"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// benchMessages returns binary messages: one of many small values, and one of a large string.
func benchMessages(b *testing.B) map[string][]byte {
	large := append([]byte(call[:0]), golden(b)["repeat"]["binary"][:18]...)
	large = append(large, byte(tbinary.String), 0, 1)
	large = append32(large, 1<<20)
	large = append(large, make([]byte, 1<<20)...)
	integers := append([]byte(nil), golden(b)["repeat"]["binary"][:18]...)
	integers = append(integers, byte(tbinary.List), 0, 1, byte(tbinary.I64), 0, 0, 4, 0)
	for i := range 1024 {
		integers = append(integers, 0, 0, 0, 0, 0, byte(i), byte(i), byte(i))
	}
	return map[string][]byte{
		"struct": golden(b)["echo"]["binary"], "i64": append(integers, 0), "1MiB": append(large, 0),
	}
}

func BenchmarkExpand(b *testing.B) {
	limits := tbinary.DefaultLimits()
	for name, message := range benchMessages(b) {
		b.Run(name, func(b *testing.B) {
			compact, err := Shrink(nil, message, &limits)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(message)))
			var x Expander
			for b.Loop() {
				x.Reset(&limits, len(compact))
				if _, err := x.Expand(compact); err != nil || !x.Done() {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkShrink(b *testing.B) {
	limits := tbinary.DefaultLimits()
	for name, message := range benchMessages(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(message)))
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = Shrink(dst[:0], message, &limits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
