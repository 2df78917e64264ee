//go:build testkit.Long && linux

package sharing

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	"github.com/kiteline/kiteline/transport/pool"
)

// Small calls do not wait for large replies. The short form is tests/mux's
// TestSmallCallsBesideLargeReplies.
func TestQuickBesideLarge(t *testing.T) {
	beside(t)
	const callers, each = 8, 500
	_, addr, _ := startApart(t)
	body := make([]byte, 1<<10)
	clients := map[kind]*caller{}
	for _, k := range kinds() {
		clients[k] = newCaller(t, k, addr, pool.MuxConfig{})
		timed(t, callers, each, clients[k].call)
	}
	compare(t, "1 KiB calls beside replies of 15 MiB", 99, bound{factor: 1, slack: 2 * time.Millisecond, aim: true}, func(k kind) []time.Duration {
		stop := make(chan struct{})
		large := start(1, func(int) error {
			for {
				select {
				case <-stop:
					return nil
				default:
				}
				if err := clients[k].echo(context.Background(), "large", nil); err != nil {
					return err
				}
			}
		})
		took := timed(t, callers, each, func() error { return clients[k].echo(context.Background(), "quick", body) })
		close(stop)
		large.end(t, "large calls")
		return took
	})
}

// Calls of 1 MiB take no more processor time on shared connections than on pooled ones, counting
// both sides.
func TestLargeCallsCost(t *testing.T) {
	beside(t)
	const callers, each = 4, 250
	server, addr, _ := startApart(t)
	body := make([]byte, 1<<20)
	clients := map[kind]*caller{}
	for _, k := range kinds() {
		clients[k] = newCaller(t, k, addr, pool.MuxConfig{})
	}
	used := func() time.Duration { return server.CPU() + harness.CPUOf(t, os.Getpid()) }
	took := map[kind][]time.Duration{}
	for range rounds + 1 {
		for _, k := range kinds() {
			before := used()
			timed(t, callers, each, func() error { return clients[k].echo(context.Background(), "quick", body) })
			took[k] = append(took[k], used()-before)
		}
	}
	// The first round makes connections and buffers.
	p, s := testkit.Median(took[pooled][1:]), testkit.Median(took[shared][1:])
	t.Logf("1000 calls of 1 MiB: pooled %v, shared %v", took[pooled], took[shared])
	promise.Check(t, "1 MiB calls: processor time of both sides", "<= 1.1 times pooled",
		fmt.Sprintf("%.2f times", float64(s)/float64(p)), float64(s) <= 1.1*float64(p))
}
