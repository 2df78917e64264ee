package testpeer

import (
	"math/rand/v2"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// Rounds is testkit.Rounds, and fewer rounds that take as long with the race detector.
func Rounds(short int) int {
	if testkit.Race && !testkit.Long {
		short = max(1, short/5)
	}
	return testkit.Rounds(short)
}

// RandomSize returns the length of a frame among many of all lengths; most are short.
func RandomSize(rnd *rand.Rand) int {
	switch rnd.IntN(20) {
	case 0:
		return rnd.IntN(400 << 10)
	case 1, 2:
		return rnd.IntN(100 << 10)
	}
	return rnd.IntN(3000)
}

// Discard is a stream that takes everything, at once.
type Discard struct{}

// Write takes p.
func (Discard) Write(p []byte) (int, error) { return len(p), nil }

// SetWriteTimeout does nothing.
func (Discard) SetWriteTimeout(time.Duration) error { return nil }
