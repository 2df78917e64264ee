package transport

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestLogLimiter: one line a second, and at the end of each flood a line that counts the others.
func TestLogLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &logLimiter{}
		var got []string
		began := time.Now()
		events := func(n int, name string) {
			for i := range n {
				l.log(func(more int) {
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
		time.Sleep(logInterval)
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

// TestDyingClientIsLoggedOnce: when a client vanishes, all of its connections fail. The log has one
// line for that, and one more with their number. Other failures have lines of their own.
func TestDyingClientIsLoggedOnce(t *testing.T) {
	captured := captureLogs(t)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c, err := conn.New(ours, conn.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		h := &serverHandler{}
		for range 39 {
			h.onError(c, muxserver.ErrSilent)
			h.onError(c, &muxserver.FrameError{Reason: "too long"})
			h.onError(c, errors.New("broken pipe"))
			h.onError(c, &conn.PanicError{Value: "boom"})
		}
		time.Sleep(time.Minute)
	})
	for _, class := range []string{muxserver.ErrSilent.Error(), "too long", "broken pipe", "boom"} {
		if got := captured.lines(class); got != 2 {
			t.Errorf("%q: got %d lines, want 2", class, got)
		}
	}
	if got := captured.lines("(37 more not logged)"); got != 4 {
		t.Errorf("got %d lines that count the others, want 4", got)
	}
}
