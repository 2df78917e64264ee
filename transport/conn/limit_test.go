package conn

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// armedDeadline stands for a socket whose deadline a limit sets.
type armedDeadline struct {
	at   time.Time
	sets int
}

func (d *armedDeadline) SetReadDeadline(t time.Time) error {
	d.at = t
	d.sets++
	return nil
}

func (d *armedDeadline) SetWriteDeadline(time.Time) error { panic("not its direction") }

// newTestLimit returns a limit for reading, and the socket's deadline that it sets.
func newTestLimit() (*limit, *armedDeadline) {
	l, d := &limit{}, &armedDeadline{}
	l.init(newClock(), d, reading)
	return l, d
}

// TestLimitKeepsKick: a deadline that is set before the lingering goroutine has noticed a kick does
// not undo the kick.
func TestLimitKeepsKick(t *testing.T) {
	for name, set := range map[string]func(l *limit) error{
		"deadline":    func(l *limit) error { return l.setDeadline(time.Now().Add(time.Hour)) },
		"no deadline": func(l *limit) error { return l.setDeadline(time.Time{}) },
		"timeout":     func(l *limit) error { l.setTimeout(time.Hour); return nil },
	} {
		l, d := newTestLimit()
		testkit.Must(t, errors.Join(l.wakeUp(), set(l)))
		if d.at.IsZero() || time.Now().Before(d.at) {
			t.Errorf("%s: the socket's deadline is %v, want one that has passed", name, d.at)
		}
		if !l.kicked() {
			t.Errorf("%s: the kick was lost", name)
		}
		if !d.at.IsZero() {
			t.Errorf("%s: after the kick the socket's deadline is %v, want none", name, d.at)
		}
	}
}

// TestLimitKickIsNoTimeout: a kick that meets a reader does not end its wait,
// whatever was set since the wait began.
func TestLimitKickIsNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, set := range map[string]func(l *limit) error{
			"nothing":          func(*limit) error { return nil },
			"deadline removed": func(l *limit) error { return l.setDeadline(time.Time{}) },
			"deadline later":   func(l *limit) error { return l.setDeadline(time.Now().Add(time.Hour)) },
		} {
			l, d := newTestLimit()
			_ = l.setDeadline(time.Now().Add(time.Second))
			_ = l.begin()
			_ = set(l)
			if name != "nothing" {
				time.Sleep(2 * time.Second)
			}
			_ = l.wakeUp()
			over, err := l.expired()
			if over || err != nil {
				t.Errorf("%s: got %v, %v, want a wait that goes on", name, over, err)
			}
			if !d.at.IsZero() && !d.at.After(time.Now()) {
				t.Errorf("%s: the deadline is %v, in the past", name, d.at)
			}
		}
	})
}

// TestReadTimeout: each wait has the whole timeout, early or not.
func TestReadTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = time.Second
		c := newFakeConn(t, Config{ReadTimeout: timeout}, newFakeGroup(t, 1))
		for range 3 {
			start := time.Now()
			_, err := c.Reader().Next(1)
			if took := time.Since(start); took != timeout {
				t.Errorf("timed out after %v, want %v", took, timeout)
			}
			testkit.ErrorIs(t, err, os.ErrDeadlineExceeded)
			var op *OpError
			if !errors.As(err, &op) || !op.Timeout() || op.Op != "read" {
				t.Errorf("got %#v, want an *OpError with Timeout", err)
			}
			time.AfterFunc(timeout-1, func() { c.sock.feed(data("x")) })
			if _, err := c.Reader().Next(1); err != nil {
				t.Errorf("data just in time: %v", err)
			}
		}
		before := c.sock.deadlines
		for range 1000 {
			c.sock.feed(data("x"))
			if _, err := c.Reader().Next(1); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.sock.deadlines - before; got > 1 {
			t.Errorf("the socket's deadline was set %d times for 1000 reads, want at most once", got)
		}
	})
}

// setBoth sets a read timeout and a read deadline that far ahead.
func setBoth(c *Conn, timeout, deadline time.Duration) {
	_ = c.SetReadDeadline(time.Now().Add(deadline))
	_ = c.SetReadTimeout(timeout)
}

// TestReadDeadline: a deadline set during a wait holds for that wait.
func TestReadDeadline(t *testing.T) {
	for _, tc := range []struct {
		name  string
		begin func(c *Conn)
		then  func(c *Conn) // after 1 s
		want  time.Duration // until the deadline error; zero: none within a minute
	}{
		{"none", nil, nil, 0},
		{"at once", func(c *Conn) { _ = c.SetReadDeadline(time.Now()) }, nil, -1},
		{"before", func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(3 * time.Second)) }, nil, 3 * time.Second},
		{"during", nil, func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(time.Second)) }, 2 * time.Second},
		{"past, during", nil, func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(-time.Second)) }, time.Second},
		{"earlier, during", func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(time.Hour)) }, func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(time.Second)) }, 2 * time.Second},
		{"later, during", func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(2 * time.Second)) }, func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(9 * time.Second)) }, 10 * time.Second},
		{"removed, during", func(c *Conn) { _ = c.SetReadDeadline(time.Now().Add(2 * time.Second)) }, func(c *Conn) { _ = c.SetReadDeadline(time.Time{}) }, 0},
		{"timeout, no deadline removed", func(c *Conn) { _ = c.SetReadTimeout(2 * time.Second) }, func(c *Conn) { _ = c.SetReadDeadline(time.Time{}) }, 2 * time.Second},
		{"timeout, deadline removed before", func(c *Conn) { setBoth(c, 2*time.Second, time.Second); _ = c.SetReadDeadline(time.Time{}) }, nil, 2 * time.Second},
		{"timeout, deadline removed during", func(c *Conn) { setBoth(c, 3*time.Second, 2*time.Second) }, func(c *Conn) { _ = c.SetReadDeadline(time.Time{}) }, 3 * time.Second},
		{"timeout, later deadline", func(c *Conn) { setBoth(c, 2*time.Second, 4*time.Second) }, nil, 4 * time.Second},
		{"timeout, later deadline removed during", func(c *Conn) { setBoth(c, 2*time.Second, time.Minute) }, func(c *Conn) { _ = c.SetReadDeadline(time.Time{}) }, 2 * time.Second},
		{"timeout, later deadline removed too late", func(c *Conn) { setBoth(c, time.Second/2, time.Minute) }, func(c *Conn) { _ = c.SetReadDeadline(time.Time{}) }, time.Second},
		{"kicked", func(c *Conn) { _ = c.SetReadTimeout(2 * time.Second) }, func(c *Conn) { _ = c.input.limit.wakeUp() }, 2 * time.Second},
		{"kicked without a limit", nil, func(c *Conn) { _ = c.input.limit.wakeUp() }, 0},
	} {
		testkit.Bubble(t, tc.name, func(t *testing.T) {
			c := newFakeConn(t, Config{}, newFakeGroup(t, 1))
			if tc.begin != nil {
				tc.begin(c.Conn)
			}
			if tc.then != nil {
				time.AfterFunc(time.Second, func() { tc.then(c.Conn) })
			}
			time.AfterFunc(time.Minute, func() { c.sock.feed(data("x")) })
			start := time.Now()
			_, err := c.Reader().Next(1)
			took := time.Since(start)
			switch {
			case tc.want == 0 && (err != nil || took != time.Minute):
				t.Errorf("got %v after %v, want the byte after a minute", err, took)
			case tc.want != 0 && (!errors.Is(err, os.ErrDeadlineExceeded) || took != max(tc.want, 0)):
				t.Errorf("got %v after %v, want a timeout after %v", err, took, max(tc.want, 0))
			}
		})
	}
}

// TestDeadlineSurvivesLingering: the user's timeouts hold in the handler although
// the goroutine lingered, was kicked and went dormant in between.
func TestDeadlineSurvivesLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 300 * time.Millisecond
		var took []time.Duration
		cfg := Config{ReadTimeout: timeout, OnRequest: func(_ context.Context, c *Conn) error {
			start := time.Now()
			_, err := c.Reader().Peek(10)
			took = append(took, time.Since(start))
			testkit.ErrorIs(t, err, os.ErrDeadlineExceeded)
			return c.Reader().Skip(c.Reader().Len())
		}}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("x"))
		for _, pause := range []time.Duration{0, timeout / 2, timeout, fakePeriod * 3, timeout * 3} {
			time.Sleep(2*timeout + pause)
			c.sock.feed(data("x"))
		}
		time.Sleep(2 * timeout)
		synctest.Wait()
		if len(took) != 6 {
			t.Fatalf("got %d requests, want 6", len(took))
		}
		for _, d := range took {
			if d != timeout {
				t.Errorf("got a timeout after %v, want %v: %v", d, timeout, took)
			}
		}
	})
}

// TestWriteTimeout: if the peer does not read, a Flush fails after the timeout and closes the
// connection; a Write keeps the connection, as net.Conn requires.
func TestWriteTimeout(t *testing.T) {
	for _, flush := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const timeout = time.Second
			c := newFakeConn(t, Config{WriteTimeout: timeout}, newFakeGroup(t, 1))
			c.sock.room = 10
			start := time.Now()
			var n int
			var err error
			if flush {
				_, _ = c.Writer().WriteBinary(make([]byte, 100))
				err = c.Writer().Flush()
			} else {
				n, err = c.Write(make([]byte, 100))
				if n != 10 {
					t.Errorf("got %d bytes, want 10", n)
				}
			}
			if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != timeout {
				t.Errorf("got %v after %v, want a timeout after %v", err, took, timeout)
			}
			testkit.Equal(t, c.IsActive(), !flush, "active")
			testkit.Equal(t, c.Pending(), 0, "pending")
		})
	}
}
