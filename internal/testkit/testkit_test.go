package testkit

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestPercentile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 99 - i
	}
	for _, tc := range []struct {
		values []int
		p      int
		want   int
	}{
		{nil, 99, 0},
		{[]int{7}, 0, 7},
		{[]int{7}, 100, 7},
		{[]int{3, 1, 2}, 50, 2},
		{hundred, 0, 0},
		{hundred, 50, 50},
		{hundred, 99, 99},
		{hundred, 100, 99},
	} {
		before := slices.Clone(tc.values)
		if got := Percentile(slices.Clone(tc.values), tc.p); got != tc.want {
			t.Errorf("%d values: percentile %d: got %d, want %d", len(tc.values), tc.p, got, tc.want)
		}
		if tc.p == 50 && Median(tc.values) != tc.want || !slices.Equal(tc.values, before) {
			t.Errorf("%d values: Median has another result, or another order, than before", len(tc.values))
		}
	}
}

// recorder is a test that may fail without consequences.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	panic(r)
}

// fails reports whether f, which waits, fails its test, and how long that takes.
func fails(t *testing.T, f func(t testing.TB)) (failed bool, took time.Duration) {
	t.Helper()
	r := &recorder{TB: t}
	began := time.Now()
	defer func() {
		if v := recover(); v != nil && v != any(r) {
			panic(v)
		}
		failed, took = r.failure != "", time.Since(began)
	}()
	f(r)
	return
}

// TestWaits: what waits ends when what it waits for has come, and fails the test after Patience.
func TestWaits(t *testing.T) {
	const due = 3 * time.Second
	for name, wait := range map[string]func(t testing.TB, after time.Duration){
		"Eventually": func(t testing.TB, after time.Duration) {
			began := time.Now()
			Eventually(t, "its time", func() bool { return time.Since(began) >= after })
		},
		"Settles": func(t testing.TB, after time.Duration) {
			began := time.Now()
			Settles(t, "whether it is time", func() bool { return time.Since(began) >= after }, true)
		},
		"Receive": func(t testing.TB, after time.Duration) {
			c := make(chan int, 1)
			time.AfterFunc(after, func() { c <- 7 })
			if got := Receive(t, "a number", c); got != 7 {
				t.Errorf("got %d, want 7", got)
			}
		},
		"Receive of a closed channel": func(t testing.TB, after time.Duration) {
			c := make(chan int)
			time.AfterFunc(after, func() { close(c) })
			Receive(t, "the end", c)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			if failed, took := fails(t, func(t testing.TB) { wait(t, due) }); failed || took < due || took > due+pollInterval {
				t.Errorf("%s: failed %v after %v, want success after %v", name, failed, took, due)
			}
			if failed, took := fails(t, func(t testing.TB) { wait(t, time.Hour) }); !failed || took != Patience {
				t.Errorf("%s: failed %v after %v, want a failure after %v", name, failed, took, Patience)
			}
			time.Sleep(time.Hour) // until the timers of the failed ones have run
		})
	}
}

// TestScale: the sizes of tests follow the switches.
func TestScale(t *testing.T) {
	if got, want := Scale("short", "full"), map[bool]string{false: "short", true: "full"}[Long]; got != want {
		t.Errorf("got the %s form, want the %s one", got, want)
	}
	want := 10
	switch {
	case Long:
		want = 1000
	case testing.Short():
		want = 2
	}
	if got := Rounds(10); got != want {
		t.Errorf("got %d rounds, want %d", got, want)
	}
}
