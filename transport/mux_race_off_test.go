//go:build !race

package transport

// raceEnabled reports whether the race detector is on, which makes a sync.Pool drop items.
const raceEnabled = false
