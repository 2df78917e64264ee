package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

var (
	duration = flag.Duration("d", testkit.Scale(5*time.Second, time.Minute), "how long the chaos goes on")
	seed     = flag.Uint64("seed", 0, "what the workers decide by; 0: the time")
)

const workers = 8

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { promise.Main(m, harness.Run) }

// panicLines counts what Kitex logs about panics, and keeps nothing else of a log of half an hour.
type panicLines struct{ w *world }

// Write implements io.Writer.
func (p panicLines) Write(line []byte) (int, error) {
	if text := string(line); strings.Contains(text, "panic") || strings.Contains(text, "BUG") {
		p.w.tally.fault(panicked, "logged: %s", text)
	}
	return len(line), nil
}

// Nothing that happens to a connection is seen on another one, or after its end.
func TestChaos(t *testing.T) {
	promise.Among(t)
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d, %v", *seed, *duration)
	// Connections that linger on their goroutines, and connections that never do.
	groups := []conn.GroupConfig{{SweepPeriod: 2 * time.Millisecond}, {MaxLingering: -1, SweepPeriod: 5 * time.Millisecond}}
	for n, cfg := range groups {
		name := [...]string{"lingering", "crowd"}[n]
		t.Run(name, func(t *testing.T) {
			descriptors, base := countDescriptors(), harness.NewBaseline()
			w := newWorld(t, cfg)
			klog.SetOutput(panicLines{w})
			w.play(t, *duration/time.Duration(len(groups)), *seed+uint64(n))
			w.end(t)
			w.report(t, "chaos, "+name)
			w.checkLeaks(t, "chaos, "+name, descriptors, base)
		})
	}
}

// play lets the workers work for d.
func (w *world) play(t *testing.T, d time.Duration, seed uint64) {
	t.Helper()
	until := time.Now().Add(d)
	all := make([]*worker, workers)
	var running sync.WaitGroup
	for n := range all {
		k := &worker{w: w, r: rand.New(rand.NewPCG(seed, uint64(n)))}
		all[n] = k
		running.Go(func() {
			if err := k.run(until); err != nil {
				t.Errorf("worker %d: %v", n, err)
			}
		})
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		for n, k := range all {
			since := time.Since(time.Unix(0, k.since.Load()))
			if doing := k.doing.Load(); doing != nil && since > 6*patience {
				stacks := make([]byte, 1<<20)
				fmt.Fprintf(os.Stderr, "%s\n", stacks[:runtime.Stack(stacks, true)])
				t.Fatalf("worker %d: %s for %v", n, *doing, since)
			}
		}
	}
}

// report checks that no fault was seen.
func (w *world) report(t *testing.T, name string) {
	t.Helper()
	t.Logf("%v", &w.tally)
	for f := range faultsCount {
		n, shown := w.tally.of(f)
		if n > 0 {
			t.Log(shown)
		}
		promise.Check(t, fmt.Sprintf("%s: %v", name, f), "0", fmt.Sprint(n), n == 0)
	}
	if w.tally.exchanges.Load() == 0 || w.tally.calls.Load() == w.tally.failedCalls.Load() {
		t.Errorf("nothing came of it: %v", &w.tally)
	}
}

// checkLeaks checks that everything is as it was before the world.
func (w *world) checkLeaks(t *testing.T, name string, descriptors int, base harness.Baseline) {
	t.Helper()
	base.Restored(t)
	left := func() int { return countDescriptors() - descriptors }
	testkit.Holds(func() bool { return left() <= 0 })
	promise.Check(t, name+": descriptors left", "0", fmt.Sprint(max(0, left())), left() <= 0)

	collected := func() bool { runtime.GC(); return w.collected.Load() == w.made.Load() }
	testkit.Holds(collected)
	kept := w.made.Load() - w.collected.Load()
	promise.Check(t, name+": connections kept by a timer or otherwise", "0",
		fmt.Sprintf("%d of %d", kept, w.made.Load()), kept == 0)

	if _, ok := buffer.Outstanding(); ok {
		released := func() bool { runtime.GC(); n, _ := buffer.Outstanding(); return n == 0 }
		testkit.Holds(released)
		n, _ := buffer.Outstanding()
		promise.Check(t, name+": blocks of memory left", "0", fmt.Sprint(n), n == 0)
	}
}

// countDescriptors returns how many descriptors of any kind the process has, or 0 without a /proc.
func countDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
