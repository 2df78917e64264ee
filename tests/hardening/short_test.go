//go:build !hardening

package hardening

import "time"

// long says that the figures are those that are promised.
const long = false

// scale returns the number, or time, of a test in its short form.
func scale[T int | time.Duration](short, _ T) T { return short }
