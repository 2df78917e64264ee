//go:build !hardening

package listeners

// long says that stops are measured, one after the other.
const long = false
