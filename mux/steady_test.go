package mux

import (
	"testing"
	"time"
)

// TestSteady: a call's deadline has a monotonic reading, whatever the caller gave, and is the same
// point in time.
func TestSteady(t *testing.T) {
	if got := steady(time.Time{}); !got.IsZero() {
		t.Errorf("no deadline: got %v", got)
	}
	for _, in := range []time.Duration{-time.Hour, 0, time.Second, 10 * 365 * 24 * time.Hour} {
		at := time.Now().Add(in)
		for _, given := range []time.Time{at, at.Round(0)} {
			got := steady(given)
			if monotonic := got != got.Round(0); !monotonic {
				t.Errorf("%v ahead: got %v, without a monotonic reading", in, got)
			}
			if off := got.Sub(at).Abs(); off > time.Minute {
				t.Errorf("%v ahead: got %v off", in, off)
			}
		}
	}
}
