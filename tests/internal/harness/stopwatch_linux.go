package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// keptWaiting returns how long the threads of this process have so far been ready without running:
// the second figure of schedstat, in nanoseconds (Documentation/scheduler/sched-stats.rst).
func keptWaiting() (sum time.Duration) {
	names, err := filepath.Glob("/proc/self/task/*/schedstat")
	if err != nil {
		panic(err) // the pattern is bad
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has just ended
		}
		if figures := strings.Fields(string(text)); len(figures) > 1 {
			n, _ := strconv.ParseInt(figures[1], 10, 64)
			sum += time.Duration(n)
		}
	}
	return sum
}
