package harness

import "time"

// Stopwatch measures time without that for which the machine had other things to do: the kernel
// says for how long threads of this process were ready and not running. A bound on its time holds
// on a busy machine, too. Where the kernel does not say, it measures all time.
type Stopwatch struct {
	began time.Time
	kept  time.Duration
}

// StartStopwatch starts one.
func StartStopwatch() Stopwatch { return Stopwatch{time.Now(), keptWaiting()} }

// Elapsed returns the time since the start.
func (s Stopwatch) Elapsed() time.Duration { return max(0, time.Since(s.began)-s.Kept()) }

// Kept returns for how long threads of this process have waited for a processor since the start,
// each thread's time added to the others'.
func (s Stopwatch) Kept() time.Duration { return max(0, keptWaiting()-s.kept) }
