package testkit

import (
	"cmp"
	"slices"
)

// Percentile sorts values and returns the one below which p of 100 are, or zero if there are none.
func Percentile[T cmp.Ordered](values []T, p int) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	slices.Sort(values)
	return values[min(len(values)-1, len(values)*p/100)]
}

// Median returns the middle one of values, whose order it keeps.
func Median[T cmp.Ordered](values []T) T { return Percentile(slices.Clone(values), 50) }
