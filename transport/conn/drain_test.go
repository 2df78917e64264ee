package conn

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestDrain: a connection that is being drained ends as soon as nothing is left to read and no
// callback runs, and not before.
func TestDrain(t *testing.T) {
	for _, tc := range []struct {
		name   string
		kinds  string // the first letters of the kinds for which the case makes sense
		before []fakeStep
		during []fakeStep // arrive in the same moment
		after  []fakeStep // arrive later
		want   string
	}{
		{"idle", "plrtn", nil, nil, nil, "closed"},
		{"idle after a request", "plrtn", []fakeStep{data("a\n")}, nil, nil, "line:a closed"},
		{"a request has just arrived", "plrtn", []fakeStep{data("a\n")}, []fakeStep{data("b\n")}, nil, "line:a line:b closed"},
		{"half a request, then the rest", "plrtn", []fakeStep{data("a\nb")}, nil, []fakeStep{data("c\n")}, "line:a partial:b line:bc closed"},
		{"in a handler", "plrtn", []fakeStep{data("sleep\n")}, nil, nil, "line:sleep closed"},
		{"in a handler, more buffered", "plrtn", []fakeStep{data("sleep\nb\n")}, nil, nil, "line:sleep line:b closed"},
		{"in a handler, more in the socket", "plrtn", []fakeStep{data("sleep\n"), data("b\n"), data("c\n")}, nil, nil, "line:sleep line:b line:c closed"},
		{"in a handler, more comes", "plrtn", []fakeStep{data("sleep\n")}, nil, []fakeStep{data("b\n")}, "line:sleep line:b closed"},
	} {
		for _, kind := range []string{"polled", "lingering", "raw without a group", "tries only to read", "no poller and no try"} {
			if !strings.Contains(tc.kinds, kind[:1]) {
				continue
			}
			testkit.Bubble(t, tc.name+"/"+kind, func(t *testing.T) {
				r := &record{}
				cfg := Config{OnRequest: func(ctx context.Context, c *Conn) error {
					p, _ := c.Reader().Peek(1)
					slow := string(p) == "s"
					err := r.lineHandler(ctx, c)
					if slow {
						time.Sleep(time.Second)
					}
					return err
				}}
				c := newDrainConn(t, kind, cfg)
				r.onClose(t, c.Conn)
				c.sock.feed(tc.before...)
				synctest.Wait()
				c.sock.mu.Lock()
				c.sock.steps = append(c.sock.steps, tc.during...) // not reported yet
				c.sock.mu.Unlock()
				c.drain()
				time.Sleep(time.Second / 2)
				c.sock.feed(tc.after...)
				time.Sleep(time.Minute)
				r.want(t, tc.want)
				testkit.ErrorIs(t, c.Err(), net.ErrClosed, "cause")
			})
		}
	}
}

func newDrainConn(t *testing.T, kind string, cfg Config) *fakeConn {
	t.Helper()
	switch kind[0] {
	case 'p':
		return newFakeConn(t, cfg, newFakeGroup(t, 0))
	case 'l':
		return newFakeConn(t, cfg, newFakeGroup(t, 1))
	case 'r', 't': // a TCP connection on Windows cannot try to write
		sock := newFakeSocket()
		c := &Conn{config: &cfg, clock: newClock(), sock: sock, raw: kind[0] == 'r', remote: fakeAddr{}}
		t.Cleanup(func() { c.Close() })
		c.start()
		return &fakeConn{Conn: c, sock: sock}
	}
	return newPlainFakeConn(t, cfg, newFakeGroup(t, 1))
}

// TestDrainInPrepare: the server shuts down while OnPrepare runs.
func TestDrainInPrepare(t *testing.T) {
	for name, steps := range map[string][]fakeStep{"nothing there": nil, "a request there": {data("a")}} {
		for _, connect := range []bool{false, true} {
			testkit.Bubble(t, name, func(t *testing.T) {
				r := &record{}
				cfg := r.config()
				if connect {
					cfg.OnConnect = func(context.Context, *Conn) context.Context { return nil }
				}
				cfg.OnPrepare = func(c *Conn) context.Context {
					r.onClose(t, c)
					c.drain()
					return nil
				}
				newFakeConn(t, cfg, newFakeGroup(t, 1), steps...)
				want := "closed"
				if steps != nil {
					want = "request:a closed"
				}
				r.want(t, want)
			})
		}
	}
}

// TestDrainOfUsers: a connection without OnRequest is its user's to close, unless it is idle with
// nothing to read.
func TestDrainOfUsers(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []fakeStep
		idle  time.Duration
		want  string
	}{
		{"just used", nil, 0, ""},
		{"put aside", nil, 3 * fakePeriod, "closed"},
		{"put aside with unread bytes", []fakeStep{data("a")}, 6 * fakePeriod, ""},
	} {
		testkit.Bubble(t, tc.name, func(t *testing.T) {
			r := &record{}
			c := newFakeConn(t, Config{}, newFakeGroup(t, 1), tc.steps...)
			r.onClose(t, c.Conn)
			time.Sleep(tc.idle)
			c.drain()
			r.want(t, tc.want)
		})
	}
}

// TestDrainOfEagerClient: a client that asks again as soon as it is answered does not hold up a
// drain, however long the first look for more may take.
func TestDrainOfEagerClient(t *testing.T) {
	for _, pause := range []time.Duration{2 * shortestLook, firstLook / 2} {
		synctest.Test(t, func(t *testing.T) {
			r := &record{}
			answered := make(chan struct{}, 1)
			c := newPlainFakeConn(t, Config{OnRequest: func(ctx context.Context, c *Conn) error {
				answered <- struct{}{}
				return r.lineHandler(ctx, c)
			}}, newFakeGroup(t, 1), data("a\n"))
			var client sync.WaitGroup
			client.Go(func() {
				asked := 0
				for range answered {
					if asked++; asked < 1000 { // so that the test ends if the drain does not
						time.Sleep(pause)
						c.sock.feed(data("b\n"))
					}
				}
			})
			closed := make(chan struct{})
			_ = c.AddCloseCallback(func(*Conn) { close(closed) })
			time.Sleep(pause / 2)
			began := time.Now()
			c.drain()
			<-closed
			if took := time.Since(began); took > 2*firstLook {
				t.Errorf("a client that asks after %v: the drain took %v, want at most %v", pause, took, 2*firstLook)
			}
			close(answered)
			client.Wait()
		})
	}
}

// TestDrainLooksUndisturbed: a late kick does not end the look for what has arrived.
func TestDrainLooksUndisturbed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		c := newPlainFakeConn(t, Config{OnRequest: r.lineHandler}, newFakeGroup(t, 1), data("a\n"))
		synctest.Wait()
		r.onClose(t, c.Conn)
		c.drain()
		synctest.Wait()
		_ = c.input.limit.wakeUp()
		synctest.Wait()
		c.sock.feed(data("b\n"))
		time.Sleep(time.Minute)
		r.want(t, "line:a line:b closed")
	})
}

// TestDrainKickIsNotLost: the read deadline is set at the very moment at which the kick comes.
func TestDrainKickIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		c := newFakeConn(t, r.config(), newFakeGroup(t, 1), data("a"))
		c.wantHolder(t, holderLingering)
		r.onClose(t, c.Conn)
		c.input.limit.mu.Lock() // so that both come before the goroutine notices
		c.transition(eventDrain)
		c.input.limit.mu.Unlock()
		_ = c.input.limit.wakeUp()
		testkit.Check(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
		r.want(t, "request:a closed")
	})
}
