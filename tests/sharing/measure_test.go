package sharing

import (
	"fmt"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

const (
	rounds  = 5
	samples = 1000 // for a percentile, at least
)

// bound is how much a figure of shared connections may exceed that of pooled ones.
type bound struct {
	factor float64
	slack  time.Duration
	aim    bool // it is wished for, but not promised yet
}

func (b bound) String() string { return fmt.Sprintf("<= %.3g times pooled + %v", b.factor, b.slack) }

// compare records a percentile of the times of calls, as the median of several rounds in which the
// kinds take turns.
func compare(t *testing.T, name string, percent int, b bound, round func(k kind) []time.Duration) {
	t.Helper()
	var figures [2][]time.Duration
	for range rounds {
		for i, k := range kinds() {
			took := round(k)
			if len(took) < samples {
				t.Fatalf("got %d samples, want %d at least", len(took), samples)
			}
			figures[i] = append(figures[i], testkit.Percentile(took, percent))
		}
	}
	p, s := testkit.Median(figures[0]), testkit.Median(figures[1])
	t.Logf("%s: p%d of pooled calls %v, of shared ones %v", name, percent, figures[0], figures[1])
	limit := time.Duration(b.factor*float64(p)) + b.slack
	name = fmt.Sprintf("%s: p%d", name, percent)
	figure := fmt.Sprintf("%v, pooled %v", s.Round(10*time.Microsecond), p.Round(10*time.Microsecond))
	if b.aim {
		promise.Aim(name, b.String(), figure, s <= limit)
		return
	}
	promise.Check(t, name, b.String(), figure, s <= limit)
}

// timed lets callers make calls one after the other, and returns how long each took. It ends the
// test if a call fails or the calls do not end.
func timed(t *testing.T, callers, each int, call func() error) []time.Duration {
	t.Helper()
	took := make([]time.Duration, callers*each)
	all := start(callers, func(n int) error {
		for i := range each {
			began := time.Now()
			if err := call(); err != nil {
				return err
			}
			took[n*each+i] = time.Since(began)
		}
		return nil
	})
	if !all.end(t, "quick calls") {
		t.FailNow()
	}
	return took
}

// checkTime records whether took is within most.
func checkTime(t *testing.T, name string, took, most time.Duration) {
	t.Helper()
	promise.Check(t, name, fmt.Sprintf("<= %v", most), took.Round(time.Millisecond).String(), took <= most)
}

// checkCount records whether n is at most most; in the short form only a failure is visible.
func checkCount[N int | int64 | uint64](t *testing.T, name string, n, most N) {
	t.Helper()
	if !testkit.Long {
		if n > most {
			t.Errorf("%s: got %d, want %d at most", name, n, most)
		}
		return
	}
	promise.Check(t, name, fmt.Sprintf("<= %d", most), fmt.Sprint(n), n <= most)
}
