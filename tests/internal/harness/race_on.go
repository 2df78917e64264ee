//go:build race

package harness

// Slowdown multiplies bounds on time: it is the cost of the race detector.
const Slowdown = 10
