//go:build !race

package transport

// raceEnabled says that the race detector is on, with which pools forget.
const raceEnabled = false
