//go:build linux && !nopoller

package poller

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestCloseWhileEventsFlow closes a poller under full load.
func TestCloseWhileEventsFlow(t *testing.T) {
	for range 20 {
		batches, flowing := 0, make(chan struct{})
		p, err := Open(Config{AfterBatch: func() {
			if batches++; batches == 50 {
				close(flowing)
			}
		}})
		testkit.Must(t, err)
		var closed atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			local, _ := socketPair(t)
			again := make(chan struct{}, 1)
			token := mustAdd(t, p, targetFunc(func(Readiness) {
				if closed.Load() {
					t.Error("OnReady after Close")
				}
				select {
				case again <- struct{}{}:
				default:
				}
			}))
			wg.Go(func() {
				for p.Arm(local, token, InterestWrite) == nil {
					p.Wake()
					select {
					case <-again:
					case <-p.done:
					}
				}
				testkit.Check(t, p.Remove(local, token))
			})
		}
		<-flowing
		testkit.Check(t, p.Close())
		closed.Store(true)
		wg.Wait()
		testkit.Equal(t, p.Len(), 0, "Len")
	}
}

// TestManyDescriptors arms thousands of descriptors at once, makes them all ready and checks that
// each gets a single event.
func TestManyDescriptors(t *testing.T) {
	const pairs = 2000
	p, _ := openPoller(t)
	var fired sync.WaitGroup
	fired.Add(pairs)
	var peers []int
	counts := make([]atomic.Int32, pairs)
	for i := range pairs {
		local, peer := socketPair(t)
		token := mustAdd(t, p, targetFunc(func(Readiness) {
			counts[i].Add(1)
			fired.Done() // panics when below zero
		}))
		mustArm(t, p, local, token, InterestRead)
		peers = append(peers, peer)
	}
	for _, peer := range peers {
		send(t, peer, "x")
		send(t, peer, "y")
	}
	fired.Wait()
	for i := range counts {
		if got := counts[i].Load(); got != 1 {
			t.Errorf("descriptor %d: got %d events, want 1", i, got)
		}
	}
}
