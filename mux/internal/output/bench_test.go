package output

import (
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// BenchmarkOutputSend queues and writes frames of 1 KiB from one goroutine.
func BenchmarkOutputSend(b *testing.B) {
	o := New(testpeer.Discard{}, Config{})
	payload := make([]byte, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		f := frame.Take()
		_, _ = f.WriteBinary(payload)
		_ = f.Flush()
		if _, err := o.Send(f, Alone); err != nil {
			b.Fatal(err)
		}
	}
}
