package testpeer

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

// long makes the tests of races run for minutes:
//
//	go test ./mux ./mux/muxserver -mux.long -timeout 60m
var long = flag.Bool("mux.long", false, "run the tests of races at full length") //nolint:gochecknoglobals // flags are

// Rounds returns short, or fewer rounds that take as long with the race detector, or a hundred
// times as many with -mux.long.
func Rounds(short int) int {
	if *long {
		return 100 * short
	}
	if testing.Short() { // in an emulator
		short /= 5
	}
	return max(1, short/raceSlowdown)
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
