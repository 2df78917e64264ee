//go:build long

package listeners

// long says that stops are timed, one after the other.
const long = true
