//go:build !race

package testkit

// Race reports whether the race detector is on. It allocates, and sync.Pool drops items.
const Race = false

// Slowdown multiplies bounds on time: it is the cost of the race detector.
const Slowdown = 1
