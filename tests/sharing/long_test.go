//go:build hardening

package sharing

// long says that times are measured.
const long = true

// scale returns the number of a test in its long form.
func scale(_, full int) int { return full }
