package poller

import (
	"fmt"
	"net"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// BenchmarkPick: what does each policy cost, and does it grow with the number of pollers?
func BenchmarkPick(b *testing.B) {
	remote := &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 4}
	for _, policy := range []Policy{RoundRobin, Random, LeastConnections, SourceHash} {
		for _, size := range []int{1, 4, 32} {
			b.Run(fmt.Sprintf("policy=%v/pollers=%d", policy, size), func(b *testing.B) {
				opener := &fakeOpener{kernels: make(map[*Poller]*fakeBackend), limit: -1}
				g, err := newGroupWith(GroupConfig{Size: size, Policy: policy}, opener.open)
				testkit.Must(b, err)
				defer g.Close()
				for range size { // so that LeastConnections looks at all pollers
					if _, _, err := g.Add(remote, &recorder{}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					g.pick(remote)
				}
			})
		}
	}
}

// BenchmarkAddForget: what do an added and a removed connection cost the table, and does it grow
// with the number of those that stay?
func BenchmarkAddForget(b *testing.B) {
	for _, live := range []int{0, 10_000} {
		b.Run(fmt.Sprintf("live=%d", live), func(b *testing.B) {
			p, _ := openFake(Config{})
			defer p.Close()
			target := &recorder{}
			for range live {
				mustAdd(b, p, target)
			}
			b.ReportAllocs()
			for b.Loop() {
				token, err := p.Add(target)
				testkit.Must(b, err)
				p.Forget(token)
			}
		})
	}
}

// BenchmarkBatch: what does the portable half cost per event: table, dispatch, no kernel?
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 16, batchEvents} {
		b.Run(fmt.Sprintf("events=%d", size), func(b *testing.B) {
			p, _ := openFake(Config{})
			p.Close() // the loop has ended: this goroutine stands in for it
			p.phase = phaseOpen
			target := targetFunc(func(Readiness) {})
			events := make([]event, size)
			slots := make([]*slot, size)
			for i := range events {
				events[i] = event{p.table.add(target), Readable}
				slots[i] = p.table.lookup(events[i].token)
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range slots {
					s.state = slotArmed
				}
				p.runBatch(events)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
		})
	}
}
