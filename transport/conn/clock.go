package conn

import (
	"math"
	"time"
)

// instant is a point in time on a clock: nanoseconds since a start of the clock's choice.
type instant int64

const (
	unset instant = 0             // no point in time
	past  instant = 1             // before anything that a clock shows
	never instant = math.MaxInt64 // after anything that a clock shows
)

// after returns the instant d later (d >= 0), or never if that is out of range.
func (i instant) after(d time.Duration) instant {
	if instant(d) >= never-i {
		return never
	}
	return i + instant(d)
}

// clock measures deadlines, timeouts and idle times. It runs steadily whatever the wall clock is
// set to and, like Go's timers, stands still while the machine is suspended. It is an interface so
// that tests can make the wall clock jump.
type clock interface {
	// now returns the present.
	now() instant

	// at returns the instant that t means, by t's monotonic reading. Without one, it is as far from
	// now as t is from what the wall clock shows now; a later step of the wall clock does not move
	// it.
	at(t time.Time) instant

	// time returns i as a deadline of a socket: the zero time for never.
	time(i instant) time.Time
}

// systemClock is Go's monotonic clock.
type systemClock struct {
	start time.Time // instant 0; with a monotonic reading
}

// newClock returns a clock that already shows one second, so that past has passed.
func newClock() clock { return systemClock{time.Now().Add(-time.Second)} }

func (c systemClock) now() instant { return instant(time.Since(c.start)) }

func (c systemClock) at(t time.Time) instant {
	now := time.Now() // once, so that a monotonic t is converted exactly
	shown, left := instant(now.Sub(c.start)), t.Sub(now)
	if left < 0 {
		return max(shown+instant(left), past)
	}
	return shown.after(left)
}

func (c systemClock) time(i instant) time.Time {
	if i == never {
		return time.Time{}
	}
	return c.start.Add(time.Duration(i))
}
