package hardening

import (
	"fmt"
	"net"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// bystander is a well-behaved client among others that are not.
type bystander struct {
	t     *testing.T
	c     net.Conn
	frame []byte
}

const (
	callInterval = time.Millisecond
	rounds       = 5
	roundTime    = 2 * time.Second
)

func newBystander(t *testing.T, addr net.Addr) *bystander {
	t.Helper()
	return &bystander{t, harness.Dial(t, addr), harness.EchoFrame(t, "bystander")}
}

// round makes calls for a while, and returns the 99th percentile of their times. A call that fails
// fails the test.
func (b *bystander) round() time.Duration {
	b.t.Helper()
	var took []time.Duration
	ticker := time.NewTicker(callInterval)
	defer ticker.Stop()
	for end := time.Now().Add(roundTime); time.Now().Before(end); <-ticker.C {
		began := time.Now()
		if err := b.call(); err != nil {
			b.t.Fatalf("a bystander's call: %v", err)
		}
		took = append(took, time.Since(began))
	}
	return testkit.Percentile(took, 99)
}

func (b *bystander) call() error {
	if err := b.c.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		return err
	}
	if _, err := b.c.Write(b.frame); err != nil {
		return err
	}
	return harness.ReadFrame(b.c)
}

// p99 returns the least of several rounds: that of the round which other work on the machine
// disturbed least. In the short form, which shares its machine with other tests, it makes one call.
func (b *bystander) p99() time.Duration {
	b.t.Helper()
	// The attackers are in this process too; the server does not cause the collector's work for
	// them.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if !testkit.Long {
		if err := b.call(); err != nil {
			b.t.Fatalf("a bystander's call: %v", err)
		}
		return 0
	}
	all := make([]time.Duration, rounds)
	for n := range all {
		all[n] = b.round()
	}
	return slices.Min(all)
}

// checkP99 records the change of a bystander's percentile, in the long form.
func checkP99(t *testing.T, name string, baseline, attacked time.Duration) {
	t.Helper()
	if !testkit.Long {
		return
	}
	promise.Check(t, name+": p99 of others", "<= 1.2 times their baseline",
		fmt.Sprintf("%v, %.2f times %v", attacked, float64(attacked)/float64(baseline), baseline),
		float64(attacked) <= 1.2*float64(baseline)*testkit.Slowdown)
}

// checkMemory records how much more memory was in use than before.
func checkMemory(t *testing.T, name string, before, peak, bound int64) {
	t.Helper()
	const mib = 1 << 20
	promise.Check(t, name+": memory", fmt.Sprintf("<= %.0f MiB", float64(bound)/mib), fmt.Sprintf("%.1f MiB", float64(peak-before)/mib), peak-before <= bound)
}
