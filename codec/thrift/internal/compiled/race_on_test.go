//go:build race

package compiled

const raceEnabled = true
