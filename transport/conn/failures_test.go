package conn

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

var errBoom = errors.New("boom")

// failures are the ways in which a callback can end without returning, and the error of OnPanic and
// of the connection for each.
var failures = []struct {
	name string
	fail func()
	is   error
}{
	{"panic", func() { panic(errBoom) }, errBoom},
	{"Goexit", runtime.Goexit, ErrGoexit},
}

// failingConfig makes the callback named where fail. r records all callbacks. A request writes more
// than the kernel has room for at first.
func failingConfig(t *testing.T, r *record, where string, fail func()) Config {
	visit := func(here string) {
		r.add(here)
		if here == where {
			fail()
		}
	}
	pressures := 0
	return Config{
		OnPrepare: func(c *Conn) context.Context {
			r.onClose(t, c)
			_ = c.AddCloseCallback(func(*Conn) { visit("close") })
			visit("prepare")
			return nil
		},
		OnConnect: func(context.Context, *Conn) context.Context { visit("connect"); return nil },
		OnRequest: func(_ context.Context, c *Conn) error {
			visit("request")
			if _, err := c.Write(make([]byte, 100)); err != nil {
				return err
			}
			r.add("replied")
			return c.Reader().Skip(c.Reader().Len())
		},
		OnDisconnect: func(context.Context, *Conn) { visit("disconnect") },
		OnPressure: func(*Conn, Pressure) {
			if pressures++; pressures == 1 {
				visit("pressure")
			}
		},
		WriteHighWatermark: 10,
	}
}

// TestCallbackFailures: an OnPrepare, OnConnect or OnRequest that panics or ends its goroutine ends
// its connection; any other callback ends nothing. The usual callbacks of an end follow, and
// OnPanic is told once.
func TestCallbackFailures(t *testing.T) {
	const whole = "prepare connect request pressure replied disconnect close closed"
	for where, want := range map[string]string{
		"prepare":    "prepare close closed",
		"connect":    "prepare connect close closed",
		"request":    "prepare connect request close closed",
		"pressure":   whole,
		"disconnect": whole,
		"close":      whole,
	} {
		for _, failure := range failures {
			t.Run(fmt.Sprintf("%s in %s", failure.name, where), func(t *testing.T) {
				eachKind(t, func(t *testing.T, kind string) {
					r := &record{}
					cfg := failingConfig(t, r, where, failure.fail)
					var told []*PanicError
					cfg.OnPanic = func(c *Conn, err *PanicError) {
						told = append(told, err)
						failure.fail() // which has no effect
					}
					c := newKindOfConn(t, kind, cfg)
					c.sock.change(func() { c.sock.room = 20 })
					c.sock.feed(data("a"))
					synctest.Wait()
					c.sock.change(func() { c.sock.room = -1 })
					synctest.Wait()
					c.sock.feed(end)
					r.want(t, want)
					c.wantHolder(t, holderClosed)
					if len(told) != 1 {
						t.Fatalf("OnPanic was called %d times, want once", len(told))
					}
					if !errors.Is(told[0], failure.is) && told[0].Value != failure.is || len(told[0].Stack) == 0 {
						t.Errorf("OnPanic got %v with %d bytes of stack, want %v", told[0], len(told[0].Stack), failure.is)
					}
					var cause *PanicError
					if ends := want != whole; errors.As(c.Err(), &cause) != ends {
						t.Errorf("got cause %v, want a *PanicError: %v", c.Err(), ends)
					}
				})
			})
		}
	}
}

// TestFailureFindsUser: a goroutine that opens or closes a connection goes on, although a callback
// of that ends its goroutine.
func TestFailureFindsUser(t *testing.T) {
	for _, failure := range failures {
		synctest.Test(t, func(t *testing.T) {
			r := &record{}
			c := newFakeConn(t, Config{OnPrepare: func(c *Conn) context.Context {
				_ = c.AddCloseCallback(func(*Conn) { r.add("first"); failure.fail() })
				_ = c.AddCloseCallback(func(*Conn) { r.add("last"); failure.fail() })
				return nil
			}}, newFakeGroup(t, 1))
			testkit.Check(t, c.Close())
			if got, want := r.String(), "last first"; got != want { // before Close returns
				t.Errorf("got %q, want %q", got, want)
			}
			c = newFakeConn(t, Config{OnPrepare: func(*Conn) context.Context { failure.fail(); return nil }}, newFakeGroup(t, 1))
			c.wantHolder(t, holderClosed)
		})
	}
}

// TestFailureAfterOffer: a request that has lost the reading side still ends its connection, after
// the requests beside it.
func TestFailureAfterOffer(t *testing.T) {
	for _, failure := range failures {
		eachKind(t, func(t *testing.T, kind string) {
			r := &record{}
			c := newKindOfConn(t, kind, Config{OnRequest: func(_ context.Context, c *Conn) error {
				p, err := c.Reader().ReadString(1)
				r.add(p)
				c.HandOff()
				if p == "a" {
					time.Sleep(time.Second)
					failure.fail()
				}
				return err
			}}, data("a"))
			r.onClose(t, c.Conn)
			synctest.Wait()
			c.sock.feed(data("b"))
			r.want(t, "a b")
			time.Sleep(2 * time.Second)
			r.want(t, "a b closed")
			if !errors.As(c.Err(), new(*PanicError)) {
				t.Errorf("got cause %v, want a *PanicError", c.Err())
			}
		})
	}
}

// TestKeepOpen: the connection of an OnRequest that has called KeepOpen goes on, whether OnRequest
// still has the reading side or not.
func TestKeepOpen(t *testing.T) {
	for name, part := range map[string]func(c *Conn){
		"offered":              func(c *Conn) { c.Offer() },
		"handed off":           func(c *Conn) { c.HandOff() },
		"taken by the sweep":   func(c *Conn) { c.Offer(); time.Sleep(5 * fakePeriod) },
		"paused, then offered": func(c *Conn) { c.Pause(); c.Offer(); c.Resume() },
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, kind string) {
				r := &record{}
				c := newKindOfConn(t, kind, Config{
					OnRequest: func(_ context.Context, c *Conn) error {
						p, _ := c.Reader().ReadString(c.Reader().Len())
						r.add(p)
						turn := c.Turn()
						part(c)
						defer c.KeepOpen(turn)
						runtime.Goexit()
						return nil
					},
					OnPanic: func(_ *Conn, err *PanicError) { t.Errorf("OnPanic was called with %v", err) },
				}, data("a"))
				r.onClose(t, c.Conn)
				time.Sleep(time.Second)
				c.sock.feed(data("b"))
				time.Sleep(time.Second)
				if got := strings.Count(r.String(), "closed"); got != 0 {
					t.Fatalf("got %v, want the connection open", r)
				}
				r.want(t, "a b")
				if len(c.callbacks.keptOpen) != 0 {
					t.Errorf("%v are remembered, want none", c.callbacks.keptOpen)
				}
				c.sock.feed(end)
				r.want(t, "a b closed")
			})
		})
	}
}

// TestKeepOpenWithRest: what such an OnRequest has left unread is passed to OnRequest again at
// once, since no more may come.
func TestKeepOpenWithRest(t *testing.T) {
	for _, kind := range []string{"polled", "lingering", "plain"} {
		synctest.Test(t, func(t *testing.T) {
			r := &record{}
			c := newKindOfConn(t, kind, Config{OnRequest: func(_ context.Context, c *Conn) error {
				p, _ := c.Reader().ReadString(1)
				r.add(p)
				turn := c.Turn()
				c.Offer()
				defer c.KeepOpen(turn)
				runtime.Goexit()
				return nil
			}})
			r.onClose(t, c.Conn)
			c.sock.feed(data("abc"), end)
			r.want(t, "a b c closed")
		})
	}
}

// TestIdleTimeoutAfterFailure: failed callbacks do not keep the connection from being idle.
func TestIdleTimeoutAfterFailure(t *testing.T) {
	for _, failure := range failures {
		eachKind(t, func(t *testing.T, kind string) {
			r := &record{}
			cfg := failingConfig(t, r, "pressure", failure.fail)
			cfg.IdleTimeout = time.Minute
			c := newKindOfConn(t, kind, cfg)
			c.sock.change(func() { c.sock.room = 20 })
			c.sock.feed(data("a"))
			synctest.Wait()
			c.sock.change(func() { c.sock.room = -1 })
			time.Sleep(2 * time.Minute)
			r.want(t, "prepare connect request pressure replied close closed")
			if c.Err() != ErrIdleTimeout {
				t.Errorf("got cause %v, want %v", c.Err(), ErrIdleTimeout)
			}
		})
	}
}

// TestServerAfterFailures: a server goes on accepting whatever OnAcceptError, OnPrepare and the
// close callbacks do, and none of them holds its shutdown up.
func TestServerAfterFailures(t *testing.T) {
	for _, failure := range failures {
		testkit.Bubble(t, failure.name, func(t *testing.T) {
			r := &record{}
			prepared := 0
			s, err := NewServer(ServerConfig{
				OnAcceptError: func(error) { r.add("accept"); failure.fail() },
				Group:         newFakeGroup(t, 1),
				Config: Config{
					OnPrepare: func(c *Conn) context.Context {
						r.onClose(t, c)
						_ = c.AddCloseCallback(func(*Conn) { failure.fail() })
						if prepared++; prepared == 1 {
							failure.fail()
						}
						return nil
					},
					OnPanic: func(c *Conn, err *PanicError) { r.add(fmt.Sprintf("failed:%t", c != nil)) },
				},
			})
			testkit.Must(t, err)
			ln := newFakeListener()
			ln.failWith(syscall.EMFILE)
			served := make(chan error, 1)
			go func() { served <- s.Serve(ln) }()
			r.want(t, "accept failed:false")
			ln.fail.Store(nil)
			ln.conns <- newFakeSocket()
			r.want(t, "accept failed:false failed:true failed:true closed")
			ln.conns <- newFakeSocket()
			synctest.Wait()
			began := time.Now()
			testkit.Check(t, s.Close())
			if took := time.Since(began); took > 0 {
				t.Errorf("Close took %v, want no time", took)
			}
			r.want(t, "accept failed:false failed:true failed:true closed failed:true closed")
			if err := <-served; err != nil {
				t.Errorf("Serve: got %v, want nil", err)
			}
		})
	}
}
