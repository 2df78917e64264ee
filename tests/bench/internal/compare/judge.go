package compare

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// alpha is the chance that the test finds a change in a figure where there is none.
const alpha = 0.01

// judged are the figures that get a verdict, in the order of the output.
var judged = []result.Figure{
	result.Calls, result.CPU, result.ServerCPU, result.ClientCPU, result.P50, result.P99, result.P999,
	result.ServerAllocs, result.ClientAllocs, result.ServerBytes, result.ClientBytes,
	result.ServerResident, result.ClientResident,
	result.IdleHeap, result.IdleResident, result.IdleGoroutines,
}

// drifts reports whether f follows the speed of the machine.
func drifts(f result.Figure) bool {
	switch f {
	case result.Calls, result.CPU, result.ServerCPU, result.ClientCPU, result.P50, result.P99, result.P999:
		return true
	}
	return false
}

// threshold returns the least relative difference of f that counts as a change. plain says that f's
// values are not ratios to a reference.
func threshold(f result.Figure, plain bool) float64 {
	least := 0.02
	switch f {
	case result.P50:
		least = 0.05 // a histogram's bucket, and the scheduler's effect on it
	case result.P99, result.ServerResident, result.ClientResident, result.IdleResident:
		least = 0.10 // few calls decide it, or the moment of the last collection
	case result.P999:
		least = 0.25
	}
	if plain && drifts(f) {
		least = max(least, 0.10)
	}
	return least
}

// leastPerCall returns the least absolute difference of f that counts, whatever its share: most
// plain servers allocate next to nothing, and twice that is not a change.
func leastPerCall(f result.Figure) float64 {
	switch f {
	case result.ServerAllocs, result.ClientAllocs:
		return 0.1
	case result.ServerBytes, result.ClientBytes:
		return 16
	}
	return 0
}

// judge fills in what follows from the rounds' values.
func (f *Finding) judge(before, after []float64) {
	f.P = math.NaN()
	// Noise multiplies, so logarithms even it out; zeros have none, and are rare.
	useLogs := slices.Min(before) > 0 && slices.Min(after) > 0
	if useLogs {
		before, after = logs(before), logs(after)
		f.Change = math.Expm1(stat.Mean(after, nil) - stat.Mean(before, nil))
	} else {
		f.Change = relative(stat.Mean(before, nil), stat.Mean(after, nil))
	}
	if len(before) < 2 || len(after) < 2 {
		f.Verdict = TooFew
		return
	}
	f.P = studentP(before, after)
	if f.P >= alpha || !f.large(useLogs) {
		f.Verdict = Noise
		return
	}
	f.Verdict = Worse
	if (f.Change > 0) == (f.Figure.Better() == result.Higher) {
		f.Verdict = Better
	}
}

// large reports whether the change reaches the threshold. In logarithms halving is as large as
// doubling, so exchanging the runs exchanges the verdicts.
func (f *Finding) large(logarithmic bool) bool {
	if math.Abs(f.After-f.Before) < leastPerCall(f.Figure) {
		return false
	}
	if logarithmic {
		return math.Abs(math.Log1p(f.Change)) >= math.Log1p(f.Threshold)
	}
	return math.Abs(f.Change) >= f.Threshold
}

func finite(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}

func logs(values []float64) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = math.Log(v)
	}
	return out
}

func relative(before, after float64) float64 {
	switch before {
	case after:
		return 0
	case 0:
		return math.Inf(1) // no figure is below zero
	}
	return after/before - 1
}

// studentP returns the chance that two samples of one normal distribution have means that differ as
// much as those of a and b, which have at least two values each.
func studentP(a, b []float64) float64 {
	meanA, varianceA := stat.MeanVariance(a, nil)
	meanB, varianceB := stat.MeanVariance(b, nil)
	countA, countB := float64(len(a)), float64(len(b))
	freedom := countA + countB - 2
	variance := ((countA-1)*varianceA + (countB-1)*varianceB) / freedom
	deviation := math.Sqrt(variance * (1/countA + 1/countB))
	difference := math.Abs(meanA - meanB)
	// Allocations per call often do not vary at all; then sums differ only by rounding.
	if deviation <= 1e-12*math.Max(math.Abs(meanA), 1) {
		if difference <= 1e-9 {
			return 1
		}
		return 0
	}
	return 2 * distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Survival(difference/deviation)
}
