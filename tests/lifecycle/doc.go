// Package lifecycle checks how servers start, stop and are replaced, and how
// connections end: which calls are finished, how long it takes, and what is left behind.
//
// Servers are restarted more often, under more load, by
//
//	go test -tags long ./tests/lifecycle
package lifecycle
