//go:build !long

package testkit

// Long reports whether long tests run in full.
const Long = false
