package harness

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// Load makes calls at a steady rate, however long each of them takes.
type Load struct {
	t    testing.TB
	stop func()
	done chan struct{} // closed when the last call has ended

	mu      sync.Mutex
	begun   int            // guarded by mu
	ended   int            // guarded by mu
	failed  int            // guarded by mu
	reasons map[string]int // guarded by mu: number of failures by their reason
	slowest time.Duration  // guarded by mu
}

// StartLoad makes call be called rate times a second, with 0, 1, and so on, each time on a
// goroutine of its own, until Stop or the end of the test.
func StartLoad(t testing.TB, rate int, call func(n int) error) *Load {
	stop := make(chan struct{})
	l := &Load{
		t:       t,
		stop:    sync.OnceFunc(func() { close(stop) }),
		done:    make(chan struct{}),
		reasons: make(map[string]int),
	}
	t.Cleanup(l.stop)
	go l.run(rate, call, stop)
	return l
}

func (l *Load) run(rate int, call func(n int) error, stop <-chan struct{}) {
	defer close(l.done)
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	n, began := 0, time.Now()
	for {
		for due := int(time.Since(began) * time.Duration(rate) / time.Second); n < due; n++ {
			number := n
			calls.Go(func() { l.record(number, call) })
		}
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

func (l *Load) record(n int, call func(n int) error) {
	l.mu.Lock()
	l.begun++
	l.mu.Unlock()
	began := time.Now()
	err := call(n)
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended++
	l.slowest = max(l.slowest, took)
	if err != nil {
		l.failed++
		l.reasons[err.Error()]++
	}
}

// Ended returns how many calls have ended.
func (l *Load) Ended() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// Stop makes no more calls, waits for those in flight, and returns how many calls there were and
// how many of them failed. The test fails if one does not end within Patience.
func (l *Load) Stop() (calls, failed int) {
	l.t.Helper()
	l.stop()
	timer := time.NewTimer(testkit.Patience)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
		l.t.Fatalf("calls did not end within %v: %v", testkit.Patience, l)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun, l.failed
}

// String summarises the calls.
func (l *Load) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := fmt.Sprintf("%d calls, %d over, %d failed, the slowest took %v", l.begun, l.ended, l.failed, l.slowest)
	for _, reason := range slices.Sorted(maps.Keys(l.reasons)) {
		text += fmt.Sprintf("\n%6d times %s", l.reasons[reason], reason)
	}
	return text
}
