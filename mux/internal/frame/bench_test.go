package frame_test

import (
	"testing"

	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// BenchmarkControl encodes a control frame and reads it.
func BenchmarkControl(b *testing.B) {
	var space [128]byte
	b.ReportAllocs()
	for b.Loop() {
		control := frame.AppendControl(space[:0], frame.Message{Signal: frame.SignalRefused, Reason: frame.ReasonNoRoom}, 1, 2, 3)
		p, err := frame.Parse(control, 1<<20)
		if err != nil {
			b.Fatal(err)
		}
		m, err := frame.ParseControl(control[frame.PrefixBytes : frame.PrefixBytes+p.HeaderBytes])
		if err != nil || m.Reason != frame.ReasonNoRoom {
			b.Fatal(m, err)
		}
	}
}

// BenchmarkBlank looks for this package's key in a header as Kitex writes it, without finding it.
func BenchmarkBlank(b *testing.B) {
	whole := testpeer.StockFrame(b, ttheader.EncodeParam{
		SeqID: 1, IntInfo: map[uint16]string{1: "framed", 3: "a.service", 6: "another.service", 9: "Method"},
		StrInfo: map[string]string{"RPC_PERSIST_KEY": "value", "isn": "Service"},
	}, nil)
	b.ReportAllocs()
	for b.Loop() {
		frame.BlankHeader(whole[frame.PrefixBytes:])
	}
}
