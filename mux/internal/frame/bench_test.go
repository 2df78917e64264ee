package frame_test

import (
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// BenchmarkParse reads a prefix and a header with a signal.
func BenchmarkParse(b *testing.B) {
	control := frame.AppendControl(nil, frame.SignalPing)
	b.ReportAllocs()
	for b.Loop() {
		p, err := frame.Parse(control, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		if s, err := frame.ParseSignal(control[frame.PrefixBytes : frame.PrefixBytes+p.HeaderBytes]); err != nil || s != frame.SignalPing {
			b.Fatal(s, err)
		}
	}
}
