//go:build !hardening

package sharing

// long says that times are measured.
const long = false

// scale returns the number of a test in its short form.
func scale(short, _ int) int { return short }
