package loglimit

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimiter: one line a second, and at the end of each flood a line that counts the others.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{}
		var got []string
		began := time.Now()
		events := func(n int, name string) {
			for i := range n {
				l.Log(func(more int) {
					got = append(got, fmt.Sprintf("%v: %s%d, %d more", time.Since(began), name, i, more))
				})
			}
			synctest.Wait()
		}
		events(1, "alone")
		time.Sleep(5 * time.Second)
		events(39, "flood")
		time.Sleep(300 * time.Millisecond)
		events(2, "late")
		time.Sleep(interval)
		events(3, "again")
		time.Sleep(time.Minute)
		events(1, "last")
		want := []string{
			"0s: alone0, 0 more",
			"5s: flood0, 0 more",
			"6s: late1, 39 more",
			"7s: again2, 2 more",
			"1m6.3s: last0, 0 more",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}
