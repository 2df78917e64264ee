// Package testkit has what the tests of all packages share: the switches of a test run, waiting
// for events, and figures of samples. Its subpackage leak checks what outlives a package's tests.
//
// A test run has two switches, both of the build. The tag long makes long tests run in full, with
// the numbers that RELIABILITY.md states; without it they run in a short form:
//
//	go test -tags long -p 1 -timeout 4h ./...
//
// With the race detector (go test -race) Race is true, and bounds on time are multiplied by
// Slowdown.
//
// Only tests, and packages that only tests import, import this one.
package testkit
