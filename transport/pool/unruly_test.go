package pool

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/callback"
)

// unrulyConn is a dialer's connection whose methods may not return.
type unrulyConn struct {
	*fakePoolConn
	onIsActive, onClose func() // nil: nothing happens first
}

func (c *unrulyConn) IsActive() bool {
	if c.onIsActive != nil {
		c.onIsActive()
	}
	return c.fakePoolConn.IsActive()
}

func (c *unrulyConn) Close() error {
	err := c.fakePoolConn.Close()
	if c.onClose != nil {
		c.onClose()
	}
	return err
}

// unrulyDialer dials unrulyConns.
type unrulyDialer struct {
	fakePoolDialer
	last *unrulyConn
}

func (d *unrulyDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	c, err := d.fakePoolDialer.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	fake, ok := c.(*fakePoolConn)
	if !ok {
		return nil, errors.New("not a fake connection")
	}
	d.last = &unrulyConn{fakePoolConn: fake}
	return d.last, nil
}

// TestPoolCountsUnrulyConns: if a connection of the user's dialer panics, or ends the goroutine, in
// any call from the pool, it is closed and counted as gone, and its place is free for the next.
func TestPoolCountsUnrulyConns(t *testing.T) {
	endings := map[string]func(){"panic": func() { panic("unruly") }, "Goexit": runtime.Goexit}
	get := func(_ *Pool, _ net.Conn, get func() (net.Conn, error)) error {
		_, err := get()
		return err
	}
	put := func(p *Pool, c net.Conn, _ func() (net.Conn, error)) error { return p.Put(c) }
	steps := []struct {
		name string
		set  func(c *unrulyConn, end func())
		call func(p *Pool, c net.Conn, get func() (net.Conn, error)) error
	}{
		{"IsActive in Get", func(c *unrulyConn, end func()) { c.onIsActive = end }, get},
		{"Close in Get", func(c *unrulyConn, end func()) { c.dead.Store(true); c.onClose = end }, get},
		{"IsActive and Close in Get", func(c *unrulyConn, end func()) { c.onIsActive, c.onClose = end, end }, get},
		{"IsActive in Put", func(c *unrulyConn, end func()) { c.onIsActive = end }, put},
		{"IsActive and Close in Put", func(c *unrulyConn, end func()) { c.onIsActive, c.onClose = end, end }, put},
		{"Close in Put", func(c *unrulyConn, end func()) { c.dead.Store(true); c.onClose = end }, put},
		{"Close in Discard", func(c *unrulyConn, end func()) { c.onClose = end }, func(p *Pool, c net.Conn, _ func() (net.Conn, error)) error {
			return p.Discard(c)
		}},
	}
	for _, tc := range steps {
		for name, end := range endings {
			t.Run(tc.name+"/"+name, func(t *testing.T) {
				p := New("", Config{MaxConnsPerAddress: 1, MaxIdlePerAddress: 1, MaxIdleGlobal: 1})
				defer p.Close()
				d := &unrulyDialer{}
				get := func() (net.Conn, error) {
					// The timeout is for a place that is not free.
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					return p.Get(ctx, "tcp", fakeAddress, remote.ConnOption{Dialer: d, ConnectTimeout: time.Second})
				}
				c, err := get()
				if err != nil {
					t.Fatal(err)
				}
				conn := d.last
				if strings.HasSuffix(tc.name, "Get") {
					must(p.Put(c))
				}
				tc.set(conn, end)
				failure := callback.Apart(func() { err = tc.call(p, c, get) })
				if failure == nil {
					t.Errorf("the failure was hidden: got error %v", err)
				}
				if n := d.opened(fakeAddress); n != 0 {
					t.Errorf("%d connections are open, want none", n)
				}
				if st := checkCounts(t, p); st.Open != 0 || st.InUse != 0 {
					t.Errorf("got %+v, want nothing in use", st.Counts)
				}
				next, err := get()
				if err != nil {
					t.Fatal(err)
				}
				must(p.Put(next))
			})
		}
	}
}

// TestPoolClosesBesideUnrulyConns: whatever one idle connection's Close does, the pool closes all
// others.
func TestPoolClosesBesideUnrulyConns(t *testing.T) {
	logged := captureLogs(t)
	for _, end := range []func(){func() { panic("unruly") }, runtime.Goexit} {
		for name, closeIdle := range map[string]func(p *Pool){
			"Clean":  func(p *Pool) { p.Clean("tcp", fakeAddress) },
			"Close":  func(p *Pool) { _ = p.Close() },
			"expiry": func(*Pool) { time.Sleep(time.Hour) },
		} {
			synctest.Test(t, func(t *testing.T) {
				p := New("", Config{MaxIdlePerAddress: 3, MaxIdleGlobal: 10, MaxIdleTimeout: time.Minute})
				defer p.Close()
				d := &unrulyDialer{}
				var conns []net.Conn
				for range 3 {
					c, err := p.Get(t.Context(), "tcp", fakeAddress, remote.ConnOption{Dialer: d, ConnectTimeout: time.Second})
					if err != nil {
						t.Fatal(err)
					}
					if len(conns) < 2 {
						d.last.onClose = end
					}
					conns = append(conns, c)
				}
				for _, c := range conns {
					must(p.Put(c))
				}
				before := logged.lines("a connection's Close")
				if failure := callback.Apart(func() { closeIdle(p) }); failure != nil {
					t.Errorf("%s: the caller got %v", name, failure.Value)
				}
				if n := d.opened(fakeAddress); n != 0 {
					t.Errorf("%s: %d connections are open, want none", name, n)
				}
				if st := checkCounts(t, p); st.Open != 0 {
					t.Errorf("%s: got %+v, want nothing open", name, st.Counts)
				}
				if logged.lines("a connection's Close") == before {
					t.Errorf("%s: nothing was logged", name)
				}
			})
		}
	}
}
