package testkit

import (
	"testing"
	"testing/synctest"
)

// Bubble runs f as a part of t with that name, in a bubble of its own, where time is faked.
func Bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
