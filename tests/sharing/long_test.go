//go:build long

package sharing

// long says that tests measure times.
const long = true

// stretch is how much longer calls may take than in the short form, because there are more of them.
const stretch = 8

// scale returns the number of a test in its long form.
func scale(_, full int) int { return full }
