package conn

import (
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// skewedClock is the clock of a machine whose wall clock was set, or that was suspended. skew is
// how far its wall clock is ahead of the bubble's. Times in a bubble have no monotonic reading, so
// those without one are marked by their zone.
type skewedClock struct {
	clock
	skew time.Duration
	zone *time.Location
}

func (c *skewedClock) at(t time.Time) instant {
	if t.Location() == c.zone {
		t = t.Add(-c.skew)
	}
	return c.clock.at(t)
}

// wall returns what the wall clock shows, without a monotonic reading.
func (c *skewedClock) wall() time.Time { return time.Now().Add(c.skew).In(c.zone) }

// useSkewedClock starts a connection over fakes with such a clock.
func useSkewedClock(t *testing.T, cfg Config, lingering int) (*fakeConn, *skewedClock) {
	c := prepareFakeConn(t, cfg, newFakeGroup(t, lingering))
	clk := &skewedClock{clock: c.clock, zone: time.FixedZone("wall", 0)}
	c.clock = clk
	c.start()
	return c, clk
}

// wallJumps are what wall clocks do while connections are open.
var wallJumps = map[string]time.Duration{
	"suspended for an hour": time.Hour,
	"an hour back":          -time.Hour,
	"from 1970 to 2026":     56 * 365 * 24 * time.Hour,
	"past 2262":             263 * 365 * 24 * time.Hour,
	"before 1970":           -31 * 365 * 24 * time.Hour,
}

// TestFarDeadline: a deadline in the far future is never taken for a past one, in whatever form it
// is given.
func TestFarDeadline(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 4, 12, 0, 0, 0, 0, time.UTC) }
	for _, deadline := range []time.Time{
		year(2200), year(2262), year(2263), year(2400), year(9999), time.Unix(math.MaxInt32, 0), time.Unix(1<<55, 0),
		time.Now().Add(math.MaxInt64), time.Now().Add(200 * 365 * 24 * time.Hour),
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeConn(t, Config{ReadTimeout: time.Second, WriteTimeout: time.Second}, newFakeGroup(t, 1))
			testkit.Must(t, c.SetDeadline(deadline))
			if _, err := c.Write([]byte("x")); err != nil {
				t.Errorf("%v: Write: %v", deadline, err)
			}
			_, _ = c.Writer().WriteString("y")
			if err := c.Writer().Flush(); err != nil {
				t.Errorf("%v: Flush: %v", deadline, err)
			}
			c.sock.change(func() { c.sock.room = 0 })
			time.AfterFunc(time.Hour, func() {
				c.sock.feed(data("z"))
				c.sock.change(func() { c.sock.room = -1 })
			})
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Errorf("%v: Read that waits: %v", deadline, err)
			}
			c.sock.change(func() { c.sock.room = 0 })
			time.AfterFunc(time.Hour, func() { c.sock.change(func() { c.sock.room = -1 }) })
			if _, err := c.Write([]byte("x")); err != nil {
				t.Errorf("%v: Write that waits: %v", deadline, err)
			}
		})
	}
}

// TestLongTimeout: a timeout that reaches beyond all times does not end a wait.
func TestLongTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const forever = time.Duration(math.MaxInt64)
		c := newFakeConn(t, Config{ReadTimeout: forever, WriteTimeout: forever, IdleTimeout: forever}, newFakeGroup(t, 1))
		c.sock.change(func() { c.sock.room = 0 })
		time.AfterFunc(time.Hour, func() {
			c.sock.feed(data("z"))
			c.sock.change(func() { c.sock.room = -1 })
		})
		_, errWrite := c.Write([]byte("x"))
		_, errRead := c.Read(make([]byte, 1))
		if errRead != nil || errWrite != nil || !c.IsActive() {
			t.Errorf("got %v and %v, want no error", errRead, errWrite)
		}
	})
}

// TestWallClockJumps: deadlines, timeouts and idle times end when they would have if the wall
// clock had not moved.
func TestWallClockJumps(t *testing.T) {
	const timeout = 10 * time.Second
	for _, tc := range []struct {
		name string
		set  func(c *Conn, clk *skewedClock)
	}{
		{"monotonic deadline", func(c *Conn, _ *skewedClock) { _ = c.SetDeadline(time.Now().Add(timeout)) }},
		{"wall clock's deadline", func(c *Conn, clk *skewedClock) { _ = c.SetDeadline(clk.wall().Add(timeout)) }},
		{"timeout", func(c *Conn, _ *skewedClock) {
			_ = c.SetReadTimeout(timeout)
			_ = c.SetWriteTimeout(timeout)
		}},
		{"idle", func(c *Conn, _ *skewedClock) { _ = c.SetIdleTimeout(timeout) }},
	} {
		for name, jump := range wallJumps {
			testkit.Bubble(t, tc.name+"/"+name, func(t *testing.T) {
				c, clk := useSkewedClock(t, Config{}, 1)
				c.sock.change(func() { c.sock.room = 0 })
				tc.set(c.Conn, clk)
				start := time.Now()
				time.AfterFunc(timeout/2, func() { clk.skew += jump })
				if tc.name == "idle" {
					idleCheck(t, c.Conn, start, timeout)
					return
				}
				for name, wait := range map[string]func([]byte) (int, error){"Read": c.Read, "Write": c.Write} {
					go func() {
						_, err := wait(make([]byte, 1))
						if took := time.Since(start); took != timeout || !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("%s: got %v after %v, want a timeout after %v", name, err, took, timeout)
						}
					}()
				}
				time.Sleep(timeout / 2)
				synctest.Wait()
				if c.output.limit.isOver() {
					t.Error("the deadline has passed too early")
				}
				time.Sleep(timeout)
			})
		}
	}
}

// TestDeadlineAfterJump: a deadline by the wall clock is as far away as the wall clock says when it
// is set.
func TestDeadlineAfterJump(t *testing.T) {
	for name, jump := range wallJumps {
		testkit.Bubble(t, name, func(t *testing.T) {
			c, clk := useSkewedClock(t, Config{}, 1)
			clk.skew = jump
			start := time.Now()
			_ = c.SetReadDeadline(clk.wall().Add(3 * time.Second))
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(start); took != 3*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v after %v, want a timeout after 3s", err, took)
			}
		})
	}
}

// TestSystemClock: a time with a monotonic reading always means the same instant, and every time
// comes back as it was given.
func TestSystemClock(t *testing.T) {
	clk := newClock()
	if now := clk.now(); past >= now {
		t.Errorf("got %d for past, and %d for now", past, now)
	}
	for _, in := range []time.Duration{-time.Second / 2, 0, 1, time.Hour, 50 * 365 * 24 * time.Hour} {
		at := time.Now().Add(in)
		first := clk.at(at)
		if again := clk.at(at); again != first || !clk.time(first).Equal(at) {
			t.Errorf("%v ahead: got %d, then %d, which is %v, want %v", in, first, again, clk.time(first), at)
		}
		if got := clk.time(clk.at(at.Round(0))).Sub(at); got.Abs() > time.Second {
			t.Errorf("%v ahead by the wall clock: got %v off", in, got)
		}
	}
	for _, at := range []time.Time{time.Unix(1, 0), time.Unix(-1<<40, 0), time.Now().Add(-time.Hour)} {
		if got := clk.at(at); got != past {
			t.Errorf("%v: got %d, want %d", at, got, past)
		}
	}
	testkit.Equal(t, clk.at(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)), never, "far away")
	if got := clk.time(never); !got.IsZero() {
		t.Errorf("never: got %v, want no deadline", got)
	}
}

// modelLimit says when a wait ends.
type modelLimit struct {
	deadline time.Duration // on the bubble's clock since the start; far: it never comes
	set      bool          // there is a deadline
	timeout  time.Duration // zero: none
	timeUp   time.Duration // of the wait under way
}

const far = time.Duration(math.MaxInt64)

func (m *modelLimit) begin(now time.Duration) {
	m.timeUp = far
	if m.timeout > 0 && m.timeout < far-now {
		m.timeUp = now + m.timeout
	}
}

func (m *modelLimit) end() time.Duration {
	if m.set {
		return m.deadline
	}
	return m.timeUp
}

// direct is a direction of a connection under test: how to wait for it, and what limits it.
type direct struct {
	wait        func([]byte) (int, error)
	setDeadline func(time.Time) error
	setTimeout  func(time.Duration) error
	ready       func() // lets one wait succeed
}

// TestRandomLimits: a wait ends exactly when the model says, whatever is set meanwhile, and
// whatever the wall clock and the sweep do.
func TestRandomLimits(t *testing.T) {
	for seed := range uint64(testkit.Scale(100, 10_000)) {
		for _, way := range []direction{reading, writing} {
			synctest.Test(t, func(t *testing.T) { runRandomLimits(t, seed, way) })
			if t.Failed() {
				t.Fatalf("seed %d, writing %v", seed, way)
			}
		}
	}
}

func runRandomLimits(t *testing.T, seed uint64, way direction) {
	rnd := rand.New(rand.NewPCG(seed, 5))
	c, clk := useSkewedClock(t, Config{}, 1)
	c.sock.change(func() { c.sock.room = 0 })
	d := direct{c.Read, c.SetReadDeadline, c.SetReadTimeout, func() { c.sock.feed(data("x")) }}
	if way == writing {
		d = direct{c.Write, c.SetWriteDeadline, c.SetWriteTimeout, func() { c.sock.change(func() { c.sock.room = 1 }) }}
	}
	var m modelLimit
	start := time.Now()
	now := func() time.Duration { return time.Since(start) }
	type ended struct {
		at  time.Duration
		err error
	}
	done := make(chan ended, 1)
	var waiting atomic.Bool
	// check compares what has happened with what should have; ready says that the wait may have
	// succeeded.
	check := func(lastAction time.Duration, ready bool) {
		synctest.Wait()
		if !waiting.Load() {
			return
		}
		want := max(m.end(), lastAction)
		select {
		case got := <-done:
			waiting.Store(false)
			switch {
			case got.err == nil && !ready:
				t.Errorf("the wait succeeded")
			case got.err != nil && (!errors.Is(got.err, os.ErrDeadlineExceeded) || got.at != want):
				t.Errorf("got %v after %v, want a timeout after %v", got.err, got.at, want)
			}
		default:
			if m.end() <= now() || ready {
				t.Errorf("still waiting after %v, want a timeout after %v, ready %v", now(), want, ready)
			}
		}
	}
	for range 60 {
		lastAction, ready := now(), false
		switch rnd.IntN(8) {
		case 0: // a deadline, near or far or past, of either kind
			in := time.Duration(rnd.Int64N(int64(20*time.Second))) - 3*time.Second
			if rnd.IntN(4) == 0 {
				in = 250 * 365 * 24 * time.Hour
			}
			at := time.Now().Add(in)
			if rnd.IntN(2) == 0 {
				at = clk.wall().Add(in)
			}
			_ = d.setDeadline(at)
			m.deadline, m.set = now()+in, true
		case 1:
			_ = d.setDeadline(time.Time{})
			m.set = false
		case 2:
			m.timeout = [...]time.Duration{0, time.Duration(rnd.Int64N(int64(10 * time.Second))), far}[rnd.IntN(3)]
			_ = d.setTimeout(m.timeout)
		case 3:
			clk.skew += [...]time.Duration{time.Hour, -time.Hour, time.Second, -time.Second, 60 * 365 * 24 * time.Hour, -60 * 365 * 24 * time.Hour}[rnd.IntN(6)]
		case 4:
			if way == reading { // no sweep kicks a writer
				_ = c.input.limit.wakeUp()
			}
		case 5:
			if ready = waiting.Load(); ready {
				d.ready()
			}
		default:
			if waiting.CompareAndSwap(false, true) {
				m.begin(now())
				go func() {
					_, err := d.wait(make([]byte, 1))
					done <- ended{now(), err}
				}()
			}
		}
		check(lastAction, ready)
		lastAction = now()
		time.Sleep(time.Duration(rnd.Int64N(int64(4 * time.Second))))
		check(lastAction, false)
		if t.Failed() {
			break
		}
	}
	c.Close()
	if waiting.Load() {
		if got := <-done; !errors.Is(got.err, net.ErrClosed) {
			t.Errorf("after Close: got %v, want %v", got.err, net.ErrClosed)
		}
	}
}
