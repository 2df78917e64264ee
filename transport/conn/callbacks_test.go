package conn

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestCallbackOrder: OnPrepare, OnConnect, OnRequest, OnDisconnect, then the close
// callbacks, last added first.
func TestCallbackOrder(t *testing.T) {
	type key struct{}
	for _, byPeer := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := &record{}
			name := func(ctx context.Context) string { s, _ := ctx.Value(key{}).(string); return s }
			cfg := Config{
				OnPrepare: func(c *Conn) context.Context {
					r.add("prepare")
					for _, n := range []string{"close1", "close2"} {
						testkit.Check(t, c.AddCloseCallback(func(*Conn) { r.add(n) }))
					}
					return context.WithValue(context.Background(), key{}, "P")
				},
				OnConnect: func(ctx context.Context, c *Conn) context.Context {
					r.add("connect" + name(ctx))
					return context.WithValue(ctx, key{}, "C")
				},
				OnRequest: func(ctx context.Context, c *Conn) error {
					r.add("request" + name(ctx))
					return c.Reader().Skip(c.Reader().Len())
				},
				OnDisconnect: func(ctx context.Context, c *Conn) { r.add("disconnect" + name(ctx)) },
			}
			c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("a"))
			r.want(t, "prepare connectP requestC")
			if byPeer {
				c.sock.feed(data("b"), end)
				r.want(t, "prepare connectP requestC requestC disconnectC close2 close1")
			} else {
				c.Close()
				r.want(t, "prepare connectP requestC close2 close1")
			}
			testkit.ErrorIs(t, c.AddCloseCallback(func(*Conn) { r.add("late") }), net.ErrClosed, "AddCloseCallback on a closed connection")
			c.Close()
		})
	}
}

// TestDisconnectDuringRequest: OnDisconnect tells a handler that waits for something else.
func TestDisconnectDuringRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		told := make(chan struct{})
		cfg := Config{
			OnRequest: func(_ context.Context, c *Conn) error {
				r.add("request")
				<-told
				if c.IsActive() {
					t.Error("active after the peer's FIN")
				}
				r.add("done")
				return c.Reader().Skip(c.Reader().Len())
			},
			OnDisconnect: func(context.Context, *Conn) { r.add("disconnect"); close(told) },
		}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("a"))
		r.onClose(t, c.Conn)
		time.Sleep(3 * fakePeriod) // the sweep arms for hang-up
		c.wantHolder(t, holderHandling)
		if !c.IsActive() {
			t.Error("not active before the FIN")
		}
		c.sock.feed(end)
		r.want(t, "request disconnect done closed")
	})
}

// TestDisconnectWaitsForConnect: OnDisconnect never overlaps OnConnect, however this side learns of
// the peer's end meanwhile.
func TestDisconnectWaitsForConnect(t *testing.T) {
	for _, tc := range []struct {
		name      string
		reads     bool // OnConnect reads, and meets the end
		onRequest bool
		steps     []fakeStep
		want      string
	}{
		{"the sweep watches a long OnConnect", false, true, []fakeStep{end}, "connect connected disconnect closed"},
		{"OnConnect reads the FIN", true, true, []fakeStep{end}, "connect connected disconnect closed"},
		{"OnConnect reads the FIN, no handler", true, false, []fakeStep{end}, "connect connected disconnect"},
		{"long OnConnect, no handler", false, false, []fakeStep{end}, "connect connected disconnect"},
	} {
		testkit.Bubble(t, tc.name, func(t *testing.T) {
			r := &record{}
			cfg := r.config()
			if !tc.onRequest {
				cfg.OnRequest = nil
			}
			cfg.OnConnect = func(ctx context.Context, c *Conn) context.Context {
				r.onClose(t, c)
				r.add("connect")
				if tc.reads {
					if _, err := c.Reader().Peek(1); err != io.EOF {
						t.Errorf("got %v, want %v", err, io.EOF)
					}
				}
				time.Sleep(5 * fakePeriod)
				r.add("connected")
				return nil
			}
			newFakeConn(t, cfg, newFakeGroup(t, 1), tc.steps...)
			time.Sleep(10 * fakePeriod)
			r.want(t, tc.want)
		})
	}
}

// TestCloseInsideDisconnect: the close callbacks run when OnDisconnect has returned, whatever the
// holder.
func TestCloseInsideDisconnect(t *testing.T) {
	for _, user := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			r := &record{}
			cfg := r.config()
			if user {
				cfg.OnRequest = nil
			}
			cfg.OnDisconnect = func(_ context.Context, c *Conn) {
				r.add("disconnect")
				c.Close()
				time.Sleep(time.Second)
				r.add("disconnected")
			}
			c := newFakeConn(t, cfg, newFakeGroup(t, 1))
			r.onClose(t, c.Conn)
			synctest.Wait()
			c.sock.feed(end)
			if user && c.IsActive() {
				t.Error("active after the FIN")
			}
			time.Sleep(2 * time.Second)
			r.want(t, "disconnect disconnected closed")
			testkit.Equal(t, c.Err(), io.EOF, "cause")
		})
	}
}

// TestCloseDuringDisconnect: a user who closes while OnDisconnect runs elsewhere
// does not make the close callbacks overlap it.
func TestCloseDuringDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		cfg := Config{OnDisconnect: func(context.Context, *Conn) {
			r.add("disconnect")
			time.Sleep(time.Second)
			r.add("disconnected")
		}}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), end)
		r.onClose(t, c.Conn)
		if c.IsActive() {
			t.Error("active after the FIN")
		}
		synctest.Wait()
		c.Close()
		time.Sleep(2 * time.Second)
		r.want(t, "disconnect disconnected closed")
	})
}

// TestNoDisconnectAfterClose: OnDisconnect is not called after this side has closed first.
func TestNoDisconnectAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		cfg := r.config()
		release := make(chan struct{})
		cfg.OnRequest = func(_ context.Context, c *Conn) error {
			c.Close()
			<-release
			return nil
		}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("a"))
		synctest.Wait()
		(*target)(c.Conn).OnReady(4) // a hang-up that was on its way
		close(release)
		r.want(t, "")
	})
}

// TestSetOnDisconnect: a callback that is set late is still called, and only once.
func TestSetOnDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		c := newFakeConn(t, Config{}, newFakeGroup(t, 1), end)
		if c.IsActive() {
			t.Error("active after the FIN")
		}
		tell := func(context.Context, *Conn) { r.add("told") }
		c.SetOnDisconnect(tell)
		r.want(t, "told")
		c.SetOnDisconnect(tell)
		r.want(t, "told")
	})
}

// TestCloseInsideCallbacks: whichever callback calls Close, the close callbacks run once, after
// that callback.
func TestCloseInsideCallbacks(t *testing.T) {
	for where, want := range map[string]string{
		"prepare":  "prepare closed",
		"connect":  "prepare connect closed",
		"request":  "prepare connect request closed",
		"close":    "prepare connect request closed",
		"pressure": "prepare connect request pressure pressure closed",
	} {
		testkit.Bubble(t, where, func(t *testing.T) {
			r := &record{}
			visit := func(here string, c *Conn) {
				r.add(here)
				if here == where {
					testkit.Check(t, c.Close())
				}
			}
			cfg := Config{
				OnPrepare: func(c *Conn) context.Context {
					r.onClose(t, c)
					visit("prepare", c)
					return nil
				},
				OnConnect: func(_ context.Context, c *Conn) context.Context { visit("connect", c); return nil },
				OnRequest: func(_ context.Context, c *Conn) error {
					visit("request", c)
					if where == "pressure" {
						_, err := c.Write(make([]byte, 100))
						return err
					}
					if where == "close" {
						return errors.New("enough")
					}
					return c.Reader().Skip(1)
				},
				OnPressure:         func(c *Conn, p Pressure) { visit("pressure", c) },
				WriteHighWatermark: 10,
			}
			c := prepareFakeConn(t, cfg, newFakeGroup(t, 1), data("a"))
			c.sock.room = 20
			c.start()
			synctest.Wait()
			r.want(t, want)
		})
	}
}

// TestAdoptRacesYield: a handler that is set while OnConnect returns is not forgotten.
func TestAdoptRacesYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		cfg := r.config()
		handler := cfg.OnRequest
		cfg.OnRequest = nil
		c := prepareFakeConn(t, cfg, newFakeGroup(t, 1), data("a"))
		c.arming.init()
		c.input.buf.Bind((*source)(c.Conn), nil)
		c.callbacks.ctx = context.Background()
		// As in serve: there was no handler when the worker looked, and then one was set.
		c.transition(eventOpenReady)
		c.transition(eventServe)
		testkit.Must(t, c.SetOnRequest(handler))
		c.yield()
		r.want(t, "request:a")
	})
}

// TestSetOnRequest hands a user's connection to a handler, wherever the bytes are.
func TestSetOnRequest(t *testing.T) {
	for _, where := range []string{"buffered", "in the socket", "in the socket and watched", "later", "buffered and in the socket"} {
		testkit.Bubble(t, where, func(t *testing.T) {
			r := &record{}
			c := newFakeConn(t, Config{}, newFakeGroup(t, 1))
			c.wantHolder(t, holderUser)
			want := "request:ab"
			switch where {
			case "buffered":
				c.sock.feed(data("ab"))
				if _, err := c.Reader().Peek(1); err != nil {
					t.Fatal(err)
				}
			case "in the socket":
				c.sock.feed(data("ab"))
			case "in the socket and watched":
				time.Sleep(3 * fakePeriod)
				c.wantHolder(t, holderWatched)
				c.sock.feed(data("ab"))
				time.Sleep(3 * fakePeriod)
				if got, want := c.watcher.armed(), interestHangup; got != want {
					t.Errorf("armed for %v with unread bytes, want %v", got, want)
				}
			case "buffered and in the socket":
				c.sock.feed(data("a"))
				if _, err := c.Reader().Peek(1); err != nil {
					t.Fatal(err)
				}
				c.sock.feed(data("b"))
				want = "request:a request:b"
			}
			testkit.Must(t, c.SetOnRequest(r.config().OnRequest))
			if where == "later" {
				synctest.Wait()
				c.sock.feed(data("ab"))
			}
			r.want(t, want)
		})
	}
	c := &Conn{remote: fakeAddr{}}
	testkit.ErrorIs(t, c.SetOnRequest(nil), errNilHandler)
}

// TestCloseCallbackMayWrite: when a failed Flush has ended the connection, no lock of the writer is
// held in a close callback.
func TestCloseCallbackMayWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		c := newFakeConn(t, Config{}, newFakeGroup(t, 1))
		c.sock.writeErr = errors.New("broken")
		_ = c.AddCloseCallback(func(c *Conn) {
			if !c.output.mu.TryLock() {
				r.add("locked")
				return
			}
			c.output.mu.Unlock()
			r.add("closed")
		})
		if _, err := c.Writer().WriteString("x"); err != nil {
			t.Fatal(err)
		}
		testkit.ErrorIs(t, c.Writer().Flush(), c.sock.writeErr)
		r.want(t, "closed")
	})
}
