//go:build race

package testpeer

// raceSlowdown is about how much longer a test takes with the race detector.
const raceSlowdown = 5
