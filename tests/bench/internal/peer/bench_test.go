package peer

import (
	"runtime"
	"testing"
)

// BenchmarkRPC calls from a hundred goroutines, client and server in one
// process: enough to see that a framework works at its speed, not to compare.
func BenchmarkRPC(b *testing.B) {
	for _, r := range RPCs() {
		b.Run(r.Name, func(b *testing.B) {
			addr := start(b, r, nil)
			c, err := r.Dial(addr, 100, 0)
			if err != nil {
				b.Fatal(err)
			}
			b.Run("callers=100/size=1024", func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism((100 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					call := c.Caller(1024)
					for pb.Next() {
						if err := call(background); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
			})
		})
	}
}
