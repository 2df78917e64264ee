package harness

import "time"

// Stopwatch measures time without the time that the machine spent on other work: the kernel tells
// how long threads of this process were ready but did not run. So a bound on its time also holds on
// a busy machine. If the kernel does not tell, it measures all time.
type Stopwatch struct {
	began time.Time
	kept  time.Duration
}

// StartStopwatch starts a Stopwatch.
func StartStopwatch() Stopwatch { return Stopwatch{time.Now(), keptWaiting()} }

// Elapsed returns the time since the start.
func (s Stopwatch) Elapsed() time.Duration { return max(0, time.Since(s.began)-s.Kept()) }

// Kept returns how long threads of this process have waited for a processor since the start, summed
// over the threads.
func (s Stopwatch) Kept() time.Duration { return max(0, keptWaiting()-s.kept) }
