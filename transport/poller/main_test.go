package poller

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run if a poller's goroutine outlives the tests.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if stacks := leakedLoops(5 * time.Second); code == 0 && stacks != "" {
		fmt.Fprintf(os.Stderr, "leaked poller goroutines:\n%s\n", stacks)
		code = 1
	}
	os.Exit(code)
}

// leakedLoops returns the stacks of the pollers' goroutines that are still there after patience.
func leakedLoops(patience time.Duration) string {
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		stacks := loopStacks()
		if stacks == "" {
			return ""
		}
		select {
		case <-tick.C:
		case <-deadline:
			return stacks
		}
	}
}

// loopStacks returns the stacks of all goroutines that run a poller's loop.
func loopStacks() string {
	buffer := make([]byte, 1<<20)
	buffer = buffer[:runtime.Stack(buffer, true)]
	var loops []string
	for stack := range strings.SplitSeq(string(buffer), "\n\n") {
		if strings.Contains(stack, "poller.(*Poller).loop") {
			loops = append(loops, stack)
		}
	}
	return strings.Join(loops, "\n\n")
}
