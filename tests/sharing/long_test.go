//go:build hardening

package sharing

// long says that times are measured.
const long = true

// stretch is how much longer calls may take than in the short form: there are more of them.
const stretch = 8

// scale returns the number of a test in its long form.
func scale(_, full int) int { return full }
