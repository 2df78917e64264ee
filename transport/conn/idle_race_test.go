package conn

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// watchedClock calls look whenever the clock is read, a point at which a goroutine may be when the
// idle timer fires.
type watchedClock struct {
	clock
	look    atomic.Pointer[func()] // nil: nothing
	looking atomic.Bool
}

func (c *watchedClock) now() instant {
	now := c.clock.now()
	if look := c.look.Load(); look != nil && c.looking.CompareAndSwap(false, true) {
		(*look)()
		c.looking.Store(false)
	}
	return now
}

// newWatchedConn prepares a connection whose idle timer fires when it is due, and also at each look
// at the clock and each arming. Its own timeout begins with the call of the result.
func newWatchedConn(t *testing.T, cfg Config, lingering int) (*fakeConn, func(timeout time.Duration)) {
	c := prepareFakeConn(t, cfg, newFakeGroup(t, lingering))
	clk := &watchedClock{clock: c.clock}
	c.clock = clk
	return c, func(timeout time.Duration) {
		testkit.Must(t, c.SetIdleTimeout(timeout))
		look := c.checkIdle
		clk.look.Store(&look)
		c.watcher.callOnArm(func() { go c.checkIdle() })
	}
}

// TestIdleTimerAfterUse: a connection is not idle right after a long use, whenever the idle timer
// fires.
func TestIdleTimerAfterUse(t *testing.T) {
	const timeout, use = time.Second, 3*time.Second + time.Second/3
	sleep := func(_ context.Context, c *Conn) error {
		time.Sleep(use)
		return c.Reader().Skip(c.Reader().Len())
	}
	for name, run := range map[string]func(t *testing.T, lingering int) *fakeConn{
		"OnPrepare": func(t *testing.T, lingering int) *fakeConn {
			var begin func(time.Duration)
			c, begin := newWatchedConn(t, Config{OnPrepare: func(*Conn) context.Context {
				begin(timeout)
				time.Sleep(use)
				return nil
			}}, lingering)
			c.start()
			return c
		},
		"OnConnect": func(t *testing.T, lingering int) *fakeConn {
			var begin func(time.Duration)
			c, begin := newWatchedConn(t, Config{OnConnect: func(context.Context, *Conn) context.Context {
				begin(timeout)
				time.Sleep(use)
				return nil
			}}, lingering)
			c.start()
			time.Sleep(use)
			return c
		},
		"OnRequest": func(t *testing.T, lingering int) *fakeConn {
			c, begin := newWatchedConn(t, Config{OnRequest: sleep}, lingering)
			c.start()
			begin(timeout)
			c.sock.feed(data("x"))
			time.Sleep(use)
			return c
		},
		"OnRequest beside others": func(t *testing.T, lingering int) *fakeConn {
			c, begin := newWatchedConn(t, Config{OnRequest: func(_ context.Context, c *Conn) error {
				err := c.Reader().Skip(c.Reader().Len())
				c.HandOff()
				time.Sleep(use)
				return err
			}}, lingering)
			c.start()
			begin(timeout)
			c.sock.feed(data("x"))
			time.Sleep(use)
			return c
		},
		"work": func(t *testing.T, lingering int) *fakeConn {
			c, begin := newWatchedConn(t, Config{OnRequest: sleep}, lingering)
			c.start()
			begin(timeout)
			c.BeginWork()
			time.Sleep(use)
			c.EndWork()
			return c
		},
		"a user's Read": func(t *testing.T, lingering int) *fakeConn {
			c, begin := newWatchedConn(t, Config{}, lingering)
			c.start()
			begin(timeout)
			time.AfterFunc(use, func() { c.sock.feed(data("x")) })
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
			return c
		},
		"a user's Reader": func(t *testing.T, lingering int) *fakeConn {
			c, begin := newWatchedConn(t, Config{}, lingering)
			c.start()
			begin(timeout)
			time.AfterFunc(use, func() { c.sock.feed(data("x")) })
			if _, err := c.Reader().Next(1); err != nil {
				t.Error(err)
			}
			return c
		},
		"a user's Write": func(t *testing.T, lingering int) *fakeConn {
			c, begin := newWatchedConn(t, Config{}, lingering)
			c.start()
			begin(timeout)
			c.sock.change(func() { c.sock.room = 0 })
			time.AfterFunc(use, func() { c.sock.change(func() { c.sock.room = -1 }) })
			if _, err := c.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			return c
		},
		"a user's Flush": func(t *testing.T, lingering int) *fakeConn {
			c, begin := newWatchedConn(t, Config{}, lingering)
			c.start()
			begin(timeout)
			c.sock.change(func() { c.sock.room = 0 })
			time.AfterFunc(use, func() { c.sock.change(func() { c.sock.room = -1 }) })
			_, _ = c.Writer().WriteString("x")
			testkit.Check(t, c.Writer().Flush())
			return c
		},
	} {
		for _, lingering := range []int{0, 1} {
			testkit.Bubble(t, name, func(t *testing.T) {
				c := run(t, lingering)
				synctest.Wait()
				idleCheck(t, c.Conn, time.Now(), timeout)
			})
		}
	}
}

// TestUseDuringIdleCheck: a request that comes, and is answered, while the idle timer looks whether
// the connection has been idle, keeps it open.
func TestUseDuringIdleCheck(t *testing.T) {
	const timeout = time.Second
	for _, lingering := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			handled := make(chan struct{}, 1)
			c := newFakeConn(t, Config{IdleTimeout: timeout, OnRequest: func(_ context.Context, c *Conn) error {
				defer func() { handled <- struct{}{} }()
				return c.Reader().Skip(c.Reader().Len())
			}}, newFakeGroup(t, lingering))
			looked := false
			c.sock.mu.Lock()
			c.sock.onPeek = func() {
				if looked {
					return
				}
				looked = true
				c.sock.feed(data("x"))
				<-handled
				time.Sleep(time.Millisecond) // until it is at rest again
			}
			c.sock.mu.Unlock()
			time.Sleep(timeout + time.Millisecond)
			synctest.Wait()
			if !looked || c.Err() != nil {
				t.Errorf("looked %v, closed %v, want an open connection", looked, c.Err())
			}
			idleCheck(t, c.Conn, time.Now(), timeout)
		})
	}
}
