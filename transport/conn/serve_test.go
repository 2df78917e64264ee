package conn

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/poller"
)

// record records callbacks, in order.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, " ")
}

// want checks the record once all goroutines are at rest.
func (r *record) want(t *testing.T, want string) {
	t.Helper()
	synctest.Wait()
	if got := r.String(); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// config returns a Config that records all callbacks; a request takes everything there is.
func (r *record) config() Config {
	return Config{
		OnRequest: func(_ context.Context, c *Conn) error {
			p, err := c.Reader().ReadString(c.Reader().Len())
			r.add("request:" + p)
			return err
		},
		OnDisconnect: func(context.Context, *Conn) { r.add("disconnect") },
	}
}

// lineHandler is a handler that takes whole lines and leaves the rest.
func (r *record) lineHandler(_ context.Context, c *Conn) error {
	p, err := c.Reader().Peek(c.Reader().Len())
	if err != nil {
		return err
	}
	n := strings.IndexByte(string(p), '\n')
	if n < 0 {
		r.add("partial:" + string(p))
		return nil
	}
	r.add("line:" + string(p[:n]))
	return c.Reader().Skip(n + 1)
}

// onClose records the end.
func (r *record) onClose(t *testing.T, c *Conn) {
	testkit.Check(t, c.AddCloseCallback(func(*Conn) { r.add("closed") }))
}

// TestRequests follows a connection with a handler through what its socket may give.
func TestRequests(t *testing.T) {
	reset := fails(syscall.ECONNRESET)
	for _, tc := range []struct {
		name  string
		steps []fakeStep
		lines bool // whole lines only
		want  string
		cause error
	}{
		{"nothing", nil, false, "", nil},
		{"data", []fakeStep{data("a")}, false, "request:a", nil},
		{"data in two reads", []fakeStep{data("a"), data("b")}, false, "request:a request:b", nil},
		{"data, spurious readiness, data", []fakeStep{data("a"), eagain, data("b")}, false, "request:a request:b", nil},
		{"fin", []fakeStep{end}, false, "disconnect closed", io.EOF},
		{"data and fin", []fakeStep{data("a"), end}, false, "request:a disconnect closed", io.EOF},
		{"spurious readiness and fin", []fakeStep{eagain, end}, false, "disconnect closed", io.EOF},
		{"reset", []fakeStep{reset}, false, "disconnect closed", syscall.ECONNRESET},
		{"data and reset", []fakeStep{data("a"), reset}, false, "request:a disconnect closed", syscall.ECONNRESET},
		{"half a line", []fakeStep{data("a")}, true, "partial:a", nil},
		{"a line in two halves", []fakeStep{data("a"), data("b\n")}, true, "partial:a line:ab", nil},
		{"two lines in one read", []fakeStep{data("a\nb\n")}, true, "line:a line:b", nil},
		{"one line and a half", []fakeStep{data("a\nb"), data("c\n")}, true, "line:a partial:b line:bc", nil},
		{"half a line and fin", []fakeStep{data("a\nb"), end}, true, "line:a partial:b partial:b disconnect closed", io.EOF},
		{"bytes one by one", []fakeStep{data("a"), data("b"), eagain, data("\n"), data("c"), end}, true,
			"partial:a partial:ab line:ab partial:c partial:c disconnect closed", io.EOF},
	} {
		for _, kind := range []string{"polled", "lingering", "plain"} {
			testkit.Bubble(t, tc.name+"/"+kind, func(t *testing.T) {
				r := &record{}
				cfg := r.config()
				if tc.lines {
					cfg.OnRequest = r.lineHandler
				}
				lingering := map[string]int{"lingering": 1}[kind]
				cfg.OnPrepare = func(c *Conn) context.Context { r.onClose(t, c); return nil }
				g := newFakeGroup(t, lingering)
				var c *fakeConn
				if kind == "plain" {
					c = newPlainFakeConn(t, cfg, g, tc.steps...)
				} else {
					c = newFakeConn(t, cfg, g, tc.steps...)
				}
				r.want(t, tc.want)
				testkit.ErrorIs(t, c.Err(), tc.cause, "cause")
				c.Close()
				synctest.Wait()
				if got := strings.Count(r.String(), "closed"); got != 1 {
					t.Errorf("close callbacks: got %d calls, want 1: %v", got, r)
				}
				if c.watcher != nil && c.watcher.forgotten != 1 {
					t.Errorf("got %d Forgets, want 1", c.watcher.forgotten)
				}
				if c.sock.closes != 1 {
					t.Errorf("got %d closes of the socket, want 1", c.sock.closes)
				}
			})
		}
	}
}

// TestHalfFrameThenFin: a handler waits for the rest of a request, which never comes, at its first
// call or when it is called again for what is left. It gets io.ErrUnexpectedEOF and returns it.
// OnDisconnect is still called, once and before the close callbacks.
func TestHalfFrameThenFin(t *testing.T) {
	for _, tc := range []struct {
		name    string
		patient int // calls that want more, and do not wait for it
		steps   []fakeStep
		later   []fakeStep
	}{
		{"fin while the handler waits", 0, []fakeStep{data("ab")}, []fakeStep{end}},
		{"fin with the data", 0, []fakeStep{data("ab"), end}, nil},
		{"reset while the handler waits", 0, []fakeStep{data("ab")}, []fakeStep{fails(syscall.ECONNRESET)}},
		{"fin between two calls", 1, []fakeStep{data("ab")}, []fakeStep{end}},
	} {
		testkit.Bubble(t, tc.name, func(t *testing.T) {
			r := &record{}
			cfg := r.config()
			cfg.OnPrepare = func(c *Conn) context.Context { r.onClose(t, c); return nil }
			calls := 0
			cfg.OnRequest = func(_ context.Context, c *Conn) error {
				if calls++; calls <= tc.patient {
					return nil
				}
				_, err := c.Reader().Next(4)
				if err == nil {
					t.Error("got 4 bytes, want an error")
				}
				return err
			}
			c := newFakeConn(t, cfg, newFakeGroup(t, 1), tc.steps...)
			synctest.Wait()
			c.sock.feed(tc.later...)
			r.want(t, "disconnect closed")
		})
	}
}

// TestGoesDormant follows a connection into dormancy and back.
func TestGoesDormant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		g := newFakeGroup(t, 1)
		c := newFakeConn(t, r.config(), g)
		c.wantHolder(t, holderDormant)
		if got, want := c.watcher.armed(), poller.InterestRead; got != want {
			t.Fatalf("armed for %v, want %v", got, want)
		}
		for _, msg := range []string{"a", "b", "c"} {
			r.lines = nil
			c.sock.feed(data(msg))
			r.want(t, "request:"+msg)
			c.wantHolder(t, holderLingering)
			if got := c.watcher.armed(); got != 0 {
				t.Fatalf("armed for %v while lingering", got)
			}
			c.sock.feed(data("x"))
			r.want(t, "request:"+msg+" request:x")
			c.wantHolder(t, holderLingering)
			time.Sleep(3 * fakePeriod)
			c.wantHolder(t, holderDormant)
		}
		testkit.Equal(t, g.dispatcher.lingering.Load(), 0, "lingering")
		c.Close()
	})
}

// TestLingerEnds: after a handler that reads and writes nothing for longer than the sweep
// remembers, the lingering of its goroutine ends too.
func TestLingerEnds(t *testing.T) {
	for _, busy := range []time.Duration{0, fakePeriod, 10 * fakePeriod} {
		testkit.Bubble(t, busy.String(), func(t *testing.T) {
			r := &record{}
			cfg := r.config()
			cfg.OnRequest = func(_ context.Context, c *Conn) error {
				err := c.Reader().Skip(c.Reader().Len())
				time.Sleep(busy)
				return err
			}
			c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("a"))
			time.Sleep(busy)
			c.wantHolder(t, holderLingering)
			time.Sleep(3 * fakePeriod)
			c.wantHolder(t, holderDormant)
			c.Close()
		})
	}
}

// TestLingeringLimit checks that no more goroutines linger than the group allows.
func TestLingeringLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 2)
		var conns []*fakeConn
		for range 5 {
			conns = append(conns, newFakeConn(t, (&record{}).config(), g, data("a")))
			synctest.Wait()
		}
		count := map[holder]int{}
		for _, c := range conns {
			count[c.holder()]++
		}
		if count[holderLingering] != 2 || count[holderDormant] != 3 {
			t.Errorf("got %v, want 2 lingering and 3 dormant", count)
		}
		for _, c := range conns {
			c.Close()
		}
	})
}

// TestPartialRequestHoldsNoGoroutine: a half-sent frame is left to the poller.
func TestPartialRequestHoldsNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		cfg := r.config()
		cfg.OnRequest = r.lineHandler
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("ab"))
		time.Sleep(3 * fakePeriod)
		c.wantHolder(t, holderDormant)
		c.sock.feed(data("c\n"))
		r.want(t, "partial:ab line:abc")
		c.Close()
	})
}

// TestReleasesWhatWasRead: a peer streams so that the buffer always holds the beginning of the next
// request. What handlers took is still given back.
func TestReleasesWhatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 2000
		var first []byte
		reused, requests := 0, 0
		cfg := Config{OnRequest: func(_ context.Context, c *Conn) error {
			if c.Reader().Len() < 1000 {
				return nil
			}
			p, err := c.Reader().Next(1000)
			if requests++; requests == 1 {
				first = p[:1]
			}
			if &first[0] == &p[0] {
				reused++
			}
			return err
		}}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), data(strings.Repeat("x", 500)))
		for range rounds {
			c.sock.feed(data(strings.Repeat("x", 1000)))
			synctest.Wait()
		}
		if requests != rounds {
			t.Fatalf("got %d requests, want %d", requests, rounds)
		}
		if held := heldBytes(&c.input.buf); held > 256<<10 {
			t.Errorf("%d KiB are held for the 500 unread bytes", held>>10)
		}
		c.Close()
	})
}

// TestBudget: a connection that always fills its reads lets other connections go first.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 1)
		d := g.dispatcher
		reads := 0
		cfg := Config{OnRequest: func(_ context.Context, c *Conn) error {
			reads++
			if reads == 1 {
				d.waiting.Add(1) // as if a connection waited, and no worker came
			}
			return c.Reader().Skip(c.Reader().Len())
		}}
		c := prepareFakeConn(t, cfg, g, data(strings.Repeat("x", 64<<20)))
		d.waking = true // no worker is woken: the test looks at the queue
		c.start()
		synctest.Wait()
		if got, want := c.holder(), holderReady; got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		c.serveQueued(t, d)
		if got, want := reads, servingBudget; got != want {
			t.Errorf("got %d reads in a turn, want %d", got, want)
		}
		if got, want := c.holder(), holderReady; got != want {
			t.Errorf("got %s after the turn, want %s", got, want)
		}
		d.waiting.Add(-1)
		d.mu.Lock()
		d.waking = false
		d.mu.Unlock()
		c.Close()
		d.wake()
	})
}

// serveQueued takes the connection from the queue as a worker does.
func (f *fakeConn) serveQueued(t *testing.T, d *dispatcher) {
	t.Helper()
	d.mu.Lock()
	head := d.conns.head
	d.conns = connQueue{}
	d.mu.Unlock()
	if head != f.Conn {
		t.Fatalf("got %p at the head of the queue, want %p", head, f.Conn)
	}
	d.waiting.Add(-1)
	head.serve()
}

// TestCloseWhileLingering: Close wakes the goroutine, which tears down.
func TestCloseWhileLingering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		c := newFakeConn(t, r.config(), newFakeGroup(t, 1), data("a"))
		c.wantHolder(t, holderLingering)
		r.onClose(t, c.Conn)
		c.Close()
		r.want(t, "request:a closed")
		testkit.Equal(t, c.Err(), net.ErrClosed, "cause")
	})
}

// TestArmFails: a connection that cannot be watched is closed, not forgotten.
func TestArmFails(t *testing.T) {
	for _, when := range []string{"at first", "later"} {
		testkit.Bubble(t, when, func(t *testing.T) {
			r := &record{}
			cfg := r.config()
			cfg.OnPrepare = func(c *Conn) context.Context { r.onClose(t, c); return nil }
			c := prepareFakeConn(t, cfg, newFakeGroup(t, 0))
			refused := errors.New("no")
			want := "closed"
			if when == "at first" {
				c.watcher.armErr = refused
			}
			c.start()
			if when == "later" {
				c.watcher.armErr = refused
				c.sock.feed(data("a"))
				want = "request:a closed"
			}
			r.want(t, want)
			testkit.ErrorIs(t, c.Err(), refused, "cause")
		})
	}
}

// TestSwallowedEnd: a handler that meets the end of the stream and does not return it does not
// leave its worker looking for it forever.
func TestSwallowedEnd(t *testing.T) {
	for _, kind := range []string{"polled", "lingering", "raw without a group", "tries only to read", "no poller and no try"} {
		testkit.Bubble(t, kind, func(t *testing.T) {
			r := &record{}
			cfg := r.config()
			cfg.OnRequest = func(_ context.Context, c *Conn) error {
				_, _ = c.Reader().Next(10)
				return c.Reader().Skip(c.Reader().Len())
			}
			c := newDrainConn(t, kind, cfg)
			r.onClose(t, c.Conn)
			c.sock.feed(data("ab"))
			synctest.Wait()
			c.sock.feed(end)
			r.want(t, "disconnect closed")
		})
	}
}

// TestFalseHangup: a poller that fails reports a hang-up to all targets. A connection whose socket
// has none does not look for it forever.
func TestFalseHangup(t *testing.T) {
	for _, lingering := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			r := &record{}
			c := newFakeConn(t, r.config(), newFakeGroup(t, lingering))
			r.onClose(t, c.Conn)
			synctest.Wait()
			c.watcher.mu.Lock()
			c.watcher.armErr = net.ErrClosed
			c.watcher.mu.Unlock()
			(*target)(c.Conn).OnReady(poller.Hangup)
			time.Sleep(3 * fakePeriod)
			r.want(t, "disconnect closed")
		})
	}
}
