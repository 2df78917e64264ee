// Package hardening tests what a server keeps when its peers are slow, hostile, many or too much
// for it, and when the process runs out of descriptors.
//
//	go test ./tests/hardening             a few seconds
//	go test -tags long ./tests/hardening  minutes, with the numbers that count
//
// Both print what was measured as a table. A server runs in a process of its own, so that its
// memory and processor time are its own.
package hardening
