//go:build !long

package sharing

// long says that tests measure times.
const long = false

// stretch is how much longer calls may take than in the short form, of which there are more.
const stretch = 1

// scale returns the number of a test in its short form.
func scale(short, _ int) int { return short }
