//go:build hardening

package hardening

import "time"

// long says that the figures are those that are promised.
const long = true

// scale returns the number, or time, of a test in its long form.
func scale[T int | time.Duration](_, full T) T { return full }
