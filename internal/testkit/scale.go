package testkit

import "testing"

// Scale returns the size of a test: full if long tests run in full, and short otherwise.
func Scale[T any](short, full T) T {
	if Long {
		return full
	}
	return short
}

// Rounds returns how often a test of races or of random steps repeats itself: short times, a
// hundred times as often if long tests run in full, and less often in an emulator (go test -short).
func Rounds(short int) int {
	switch {
	case Long:
		return 100 * short
	case testing.Short():
		return max(1, short/5)
	}
	return short
}
