//go:build !race

package harness

// Slowdown is by how much a bound on time is to be multiplied: what the race detector costs.
const Slowdown = 1
