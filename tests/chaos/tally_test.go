package chaos

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// fault is an event that must never be seen.
type fault int

const (
	misrouted   fault = iota // bytes that belong to another connection or call
	panicked                 // an unwanted panic, such as one for poisoned memory
	misordered               // a callback too many, or beside another
	stuck                    // neither a result nor an error in the time allowed
	untyped                  // an error that does not tell the caller what happened
	faultsCount              // not a fault
)

func (f fault) String() string {
	return [...]string{"misrouted bytes", "panics", "callbacks out of order", "stuck operations", "errors without a type"}[f]
}

// faultsShown is how many faults of each kind are described.
const faultsShown = 5

// tally counts what happens.
type tally struct {
	exchanges, calls, failedCalls, dials, closes, restarts, recycled atomic.Int64

	mu     sync.Mutex
	counts [faultsCount]int      // guarded by mu
	shown  [faultsCount][]string // guarded by mu
}

func (t *tally) fault(f fault, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[f]++
	if len(t.shown[f]) < faultsShown {
		t.shown[f] = append(t.shown[f], fmt.Sprintf(format, args...))
	}
}

// of returns how many faults of a kind there were, and the first few of them.
func (t *tally) of(f fault) (int, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[f], strings.Join(slices.Clone(t.shown[f]), "\n")
}

func (t *tally) String() string {
	return fmt.Sprintf("%d exchanges, %d calls of which %d failed, %d dials, %d closes from outside, %d restarts, %d descriptors recycled",
		t.exchanges.Load(), t.calls.Load(), t.failedCalls.Load(), t.dials.Load(), t.closes.Load(), t.restarts.Load(), t.recycled.Load())
}
