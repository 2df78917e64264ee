package conn

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// idleCheck waits until c has been closed and checks that this was because it was
// idle, between T and 1.1 T after since.
func idleCheck(t *testing.T, c *Conn, since time.Time, timeout time.Duration) {
	t.Helper()
	closed := make(chan time.Time, 1)
	if err := c.AddCloseCallback(func(*Conn) { closed <- time.Now() }); err != nil {
		t.Fatalf("closed too early: %v", c.Err())
	}
	select {
	case at := <-closed:
		if took := at.Sub(since); took < timeout || took > timeout*11/10 {
			t.Errorf("closed after %v, want %v to %v", took, timeout, timeout*11/10)
		}
		if c.Err() != ErrIdleTimeout {
			t.Errorf("got cause %v, want %v", c.Err(), ErrIdleTimeout)
		}
	case <-time.After(10 * timeout):
		t.Errorf("still open after %v", 10*timeout)
		c.Close()
	}
}

var idleTimeouts = []time.Duration{time.Millisecond, 30 * time.Millisecond, time.Second, time.Hour}

// TestIdleTimeout: an idle connection is closed within [T, 1.1 T] of its last use, whatever its
// holder.
func TestIdleTimeout(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, c *fakeConn, timeout time.Duration){
		"never used": func(*testing.T, *fakeConn, time.Duration) {},
		"requests": func(t *testing.T, c *fakeConn, timeout time.Duration) {
			for range 5 {
				time.Sleep(timeout * 9 / 10)
				c.sock.feed(data("x"))
				synctest.Wait()
			}
		},
		"a long request": func(t *testing.T, c *fakeConn, timeout time.Duration) {
			time.Sleep(timeout / 2)
			c.sock.feed(data("sleep"))
			synctest.Wait()
			time.Sleep(timeout*3 + timeout/3)
			synctest.Wait()
		},
	} {
		for _, lingering := range []int{0, 1} {
			for _, timeout := range idleTimeouts {
				testkit.Bubble(t, name+"/"+timeout.String(), func(t *testing.T) {
					cfg := Config{IdleTimeout: timeout, OnRequest: func(_ context.Context, c *Conn) error {
						if c.Reader().Len() > 1 {
							time.Sleep(timeout*3 + timeout/3)
						}
						return c.Reader().Skip(c.Reader().Len())
					}}
					c := newFakeConn(t, cfg, newFakeGroup(t, lingering))
					use(t, c, timeout)
					idleCheck(t, c.Conn, time.Now(), timeout)
				})
			}
		}
	}
}

// TestIdleTimeoutOfUser: without a handler the time counts from the end of the last read or write,
// not from its beginning.
func TestIdleTimeoutOfUser(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, c *fakeConn, timeout time.Duration){
		"never used": func(*testing.T, *fakeConn, time.Duration) {},
		"read": func(t *testing.T, c *fakeConn, timeout time.Duration) {
			time.AfterFunc(timeout*19/10, func() { c.sock.feed(data("x")) })
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Error(err)
			}
		},
		"reader": func(t *testing.T, c *fakeConn, timeout time.Duration) {
			time.AfterFunc(timeout*19/10, func() { c.sock.feed(data("x")) })
			if _, err := c.Reader().Next(1); err != nil {
				t.Error(err)
			}
		},
		"read that times out": func(t *testing.T, c *fakeConn, timeout time.Duration) {
			_ = c.SetReadTimeout(timeout * 19 / 10)
			if _, err := c.Reader().Next(1); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
			}
		},
		"write that waits": func(t *testing.T, c *fakeConn, timeout time.Duration) {
			c.sock.change(func() { c.sock.room = 0 })
			time.AfterFunc(timeout*19/10, func() { c.sock.change(func() { c.sock.room = -1 }) })
			if _, err := c.Write([]byte("x")); err != nil {
				t.Error(err)
			}
		},
		"flush that waits": func(t *testing.T, c *fakeConn, timeout time.Duration) {
			c.sock.change(func() { c.sock.room = 0 })
			time.AfterFunc(timeout*19/10, func() { c.sock.change(func() { c.sock.room = -1 }) })
			_, _ = c.Writer().WriteString("x")
			testkit.Check(t, c.Writer().Flush())
		},
		"set anew": func(t *testing.T, c *fakeConn, timeout time.Duration) {
			time.Sleep(timeout / 2)
			testkit.Check(t, c.SetIdleTimeout(timeout))
		},
	} {
		for _, timeout := range idleTimeouts {
			testkit.Bubble(t, name+"/"+timeout.String(), func(t *testing.T) {
				c := newFakeConn(t, Config{IdleTimeout: timeout}, newFakeGroup(t, 1))
				use(t, c, timeout)
				idleCheck(t, c.Conn, time.Now(), timeout)
			})
		}
	}
}

// TestIdleAfterOnConnect: the time that OnConnect takes does not count.
func TestIdleAfterOnConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = time.Second
		cfg := Config{IdleTimeout: timeout, OnConnect: func(context.Context, *Conn) context.Context {
			time.Sleep(3*timeout + timeout/3)
			return nil
		}}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1))
		time.Sleep(3*timeout + timeout/3)
		c.wantHolder(t, holderUser)
		idleCheck(t, c.Conn, time.Now(), timeout)
	})
}

// TestIdleTimeoutRemoved: zero means never, even after another value.
func TestIdleTimeoutRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeConn(t, Config{IdleTimeout: time.Second}, newFakeGroup(t, 1))
		time.Sleep(time.Second / 2)
		timer := c.idle.timer
		testkit.Check(t, c.SetIdleTimeout(time.Second))
		testkit.Equal(t, c.idle.timer, timer, "timer after another value")
		if err := c.SetIdleTimeout(0); err != nil || c.idle.timer != nil {
			t.Errorf("got %v, and a timer is kept: %t", err, c.idle.timer != nil)
		}
		time.Sleep(time.Hour)
		if !c.IsActive() {
			t.Errorf("closed: %v", c.Err())
		}
		c.Close()
		testkit.ErrorIs(t, c.SetIdleTimeout(time.Second), net.ErrClosed)
		// A timer that is left would keep the bubble's clock running, so check that there is none.
		if timer.Stop() {
			t.Error("the timer still runs after Close")
		}
	})
}

// TestIdleOptionOfOnPrepare: what OnPrepare sets wins over the configuration, zero included, with a
// group and without.
func TestIdleOptionOfOnPrepare(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Minute} {
		for _, grouped := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				cfg := Config{IdleTimeout: time.Second, OnPrepare: func(c *Conn) context.Context {
					testkit.Check(t, c.SetIdleTimeout(timeout))
					return nil
				}}
				var c *Conn
				if grouped {
					c = newFakeConn(t, cfg, newFakeGroup(t, 1)).Conn
				} else {
					a, b := net.Pipe()
					defer b.Close()
					var err error
					c, err = New(a, cfg, nil)
					testkit.Must(t, err)
					defer c.Close()
				}
				if timeout > 0 {
					idleCheck(t, c, time.Now(), timeout)
					return
				}
				time.Sleep(time.Minute)
				testkit.Check(t, c.Err())
			})
		}
	}
}

// TestIdleTimeoutLooksFirst: a request that has arrived when the idle time is over, but that no
// worker has seen yet, keeps the connection open. Bytes that will never be read do not.
func TestIdleTimeoutLooksFirst(t *testing.T) {
	const timeout = time.Second
	arrive := func(c *fakeConn) { // the poller has not reported it yet
		c.sock.mu.Lock()
		defer c.sock.mu.Unlock()
		c.sock.steps = append(c.sock.steps, data("x"))
	}
	testkit.Bubble(t, "handler", func(t *testing.T) {
		handled := 0
		c := newFakeConn(t, Config{IdleTimeout: timeout, OnRequest: func(_ context.Context, c *Conn) error {
			handled += c.Reader().Len()
			return c.Reader().Skip(c.Reader().Len())
		}}, newFakeGroup(t, 0))
		c.wantHolder(t, holderDormant)
		arrive(c)
		time.Sleep(timeout + timeout/20)
		synctest.Wait()
		c.sock.feed(data("y"))
		synctest.Wait()
		if handled != 2 || c.Err() != nil {
			t.Errorf("got %d bytes and %v, want 2 on an open connection", handled, c.Err())
		}
		idleCheck(t, c.Conn, time.Now(), timeout)
	})
	testkit.Bubble(t, "user", func(t *testing.T) {
		c := newFakeConn(t, Config{IdleTimeout: timeout}, newFakeGroup(t, 0))
		arrive(c)
		idleCheck(t, c.Conn, time.Now(), timeout)
	})
}
