//go:build !hardening

package listeners

// long says that stops are timed, one after the other.
const long = false
