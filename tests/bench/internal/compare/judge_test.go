package compare

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

func TestStudentP(t *testing.T) {
	for _, test := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2, 3}, []float64{4, 5, 6}, 0.0213116}, // t = 3.674 with 4 degrees of freedom
		{[]float64{4, 5, 6}, []float64{1, 2, 3}, 0.0213116},
		{[]float64{0, 2}, []float64{1, 1}, 1},
		{[]float64{7, 7, 7}, []float64{7, 7, 7}, 1},
		{[]float64{7, 7, 7}, []float64{8, 8, 8}, 0},
	} {
		if got := studentP(test.a, test.b); math.Abs(got-test.want) > 1e-6 {
			t.Errorf("%v and %v: p %v, want %v", test.a, test.b, got, test.want)
		}
	}
}

// TestLevel: without a change, p is below a level as often as the level says.
func TestLevel(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	sample := func(n int) []float64 {
		values := make([]float64, n)
		for i := range values {
			values[i] = random.NormFloat64()
		}
		return values
	}
	const tries = 20000
	for _, rounds := range []int{2, 3, 5} {
		for _, level := range []float64{0.01, 0.05, 0.5} {
			below := 0
			for range tries {
				if studentP(sample(rounds), sample(rounds)) < level {
					below++
				}
			}
			got := float64(below) / tries
			if deviation := math.Sqrt(level * (1 - level) / tries); math.Abs(got-level) > 5*deviation {
				t.Errorf("%d rounds: p below %v in %v", rounds, level, got)
			}
		}
	}
}

// TestLeastPerCall doubles figures that cannot be trusted below a certain size.
func TestLeastPerCall(t *testing.T) {
	for _, test := range []struct {
		figure result.Figure
		value  float64
		want   Verdict
	}{
		{result.ServerAllocs, 0.09, Noise},
		{result.ServerAllocs, 0.11, Worse},
		{result.ClientBytes, 15, Noise},
		{result.ClientBytes, 17, Worse},
		{result.ServerCPU, 0.01, Worse},
	} {
		f := Finding{Figure: test.figure, Before: test.value, After: 2 * test.value, Threshold: 0.02}
		f.judge([]float64{test.value, test.value}, []float64{2 * test.value, 2 * test.value})
		if f.Verdict != test.want {
			t.Errorf("%s doubles from %v: %v, want %v", test.figure, test.value, f.Verdict, test.want)
		}
	}
}
