package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// connKinds are the ways in which a connection waits for bytes, on which it depends how the reading
// side is given away.
var connKinds = []string{"polled", "lingering", "plain", "raw without a group", "no group"}

// newKindOfConn starts a connection of one of connKinds.
func newKindOfConn(t *testing.T, kind string, cfg Config, steps ...fakeStep) *fakeConn {
	t.Helper()
	switch kind {
	case "polled":
		return newFakeConn(t, cfg, newFakeGroup(t, 0), steps...)
	case "lingering":
		return newFakeConn(t, cfg, newFakeGroup(t, 3), steps...)
	case "plain":
		return newPlainFakeConn(t, cfg, newFakeGroup(t, 3), steps...)
	}
	sock := newFakeSocket(steps...)
	c := &Conn{config: &cfg, clock: newClock(), sock: sock, raw: true, remote: fakeAddr{}}
	if kind == "no group" {
		c.sock, c.raw = plainSocket{sock}, false
	}
	t.Cleanup(func() { c.Close() })
	c.start()
	return &fakeConn{Conn: c, sock: sock}
}

// eachKind runs f in a bubble for each kind of connection.
func eachKind(t *testing.T, f func(t *testing.T, kind string)) {
	t.Helper()
	for _, kind := range connKinds {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, kind) })
		})
	}
}

// parts is a handler that takes all there is, gives the reading side away as how says, and returns
// when it is told to.
type parts struct {
	record
	mu   sync.Mutex
	ends map[string]chan error
	how  func(c *Conn)
}

func newParts(how func(c *Conn)) *parts {
	return &parts{ends: make(map[string]chan error), how: how}
}

// end makes the handler that takes name return err. It may be called before the handler is.
func (p *parts) end(name string, err error) { p.channel(name) <- err }

func (p *parts) channel(name string) chan error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ends[name] == nil {
		p.ends[name] = make(chan error, 1)
	}
	return p.ends[name]
}

func (p *parts) handle(_ context.Context, c *Conn) error {
	name, err := c.Reader().ReadString(c.Reader().Len())
	if err != nil {
		return err
	}
	p.add("+" + name)
	p.how(c)
	err = <-p.channel(name)
	p.add("-" + name)
	return err
}

func (p *parts) config(t *testing.T) Config {
	return Config{
		OnPrepare:    func(c *Conn) context.Context { p.onClose(t, c); return nil },
		OnRequest:    p.handle,
		OnDisconnect: func(context.Context, *Conn) { p.add("disconnect") },
	}
}

// TestHandOff: requests do not wait for one that has handed the reading side off, but the close
// callbacks wait for all of them.
func TestHandOff(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		p := newParts((*Conn).HandOff)
		c := newKindOfConn(t, kind, p.config(t), data("a"))
		p.want(t, "+a")
		c.sock.feed(data("b"))
		p.want(t, "+a +b")
		c.sock.feed(data("c"))
		p.want(t, "+a +b +c")
		p.end("b", nil)
		p.want(t, "+a +b +c -b")
		c.sock.feed(data("d"))
		p.want(t, "+a +b +c -b +d")
		c.Close()
		p.want(t, "+a +b +c -b +d")
		p.end("d", nil)
		p.end("a", nil)
		synctest.Wait()
		if strings.Contains(p.String(), "closed") {
			t.Fatalf("close callbacks beside a handler: %v", &p.record)
		}
		p.end("c", nil)
		synctest.Wait()
		if !strings.HasSuffix(p.String(), "-c closed") {
			t.Errorf("got %q, want the close callbacks last", &p.record)
		}
	})
}

// TestOfferIsTakenByTheSweep: not before the next tick; a handler that is quicker keeps the reading
// side.
func TestOfferIsTakenByTheSweep(t *testing.T) {
	for _, kind := range connKinds[:3] {
		testkit.Bubble(t, kind, func(t *testing.T) {
			p := newParts((*Conn).Offer)
			c := newKindOfConn(t, kind, p.config(t), data("a"))
			p.want(t, "+a")
			c.sock.feed(data("b"))
			p.want(t, "+a")
			p.end("a", nil)
			p.want(t, "+a -a +b")
			p.end("b", nil)
			p.want(t, "+a -a +b -b")
			if turn := word(c.state.Load()).turn(); turn != 0 {
				t.Errorf("taken %d times from handlers that were quick", turn)
			}
			c.sock.feed(data("c"))
			p.want(t, "+a -a +b -b +c")
			c.sock.feed(data("d"))
			for range 10 { // writes of others do not make it last longer
				if _, err := c.Write([]byte("reply")); err != nil {
					t.Error(err)
				}
				time.Sleep(fakePeriod / 5)
			}
			p.want(t, "+a -a +b -b +c +d")
			p.end("c", nil)
			p.end("d", nil)
			synctest.Wait()
			if got := p.String(); !strings.Contains(got, "-c") || !strings.Contains(got, "-d") {
				t.Errorf("got %q", got)
			}
			c.Close()
		})
	}
}

// TestLateOffer: a handler takes so long before it offers the reading side that the sweep has
// dropped the connection meanwhile. The side is taken nevertheless.
func TestLateOffer(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		p := newParts(func(c *Conn) {
			if c.group != nil {
				time.Sleep(10 * c.group.sweeper.period)
			}
			c.Offer()
		})
		c := newKindOfConn(t, kind, p.config(t), data("a"))
		p.want(t, "+a")
		time.Sleep(time.Minute)
		c.sock.feed(data("b"))
		time.Sleep(time.Minute)
		p.want(t, "+a +b")
		p.end("a", nil)
		p.end("b", nil)
		synctest.Wait()
		if got := p.String(); !strings.Contains(got, "-a") || !strings.Contains(got, "-b") {
			t.Errorf("got %q", got)
		}
	})
}

// TestOfferWithoutGroup: Offer acts as HandOff, since no sweep would take the reading side.
func TestOfferWithoutGroup(t *testing.T) {
	for _, kind := range connKinds[3:] {
		testkit.Bubble(t, kind, func(t *testing.T) {
			p := newParts((*Conn).Offer)
			c := newKindOfConn(t, kind, p.config(t), data("a"))
			p.want(t, "+a")
			c.sock.feed(data("b"))
			p.want(t, "+a +b")
			p.end("a", nil)
			p.end("b", nil)
			synctest.Wait()
			c.Close()
		})
	}
}

// TestTakenHandlerFails: what a handler without the reading side returns still
// decides about its connection.
func TestTakenHandlerFails(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		wrong := errors.New("wrong")
		p := newParts((*Conn).HandOff)
		c := newKindOfConn(t, kind, p.config(t), data("a"))
		p.want(t, "+a")
		p.end("a", wrong)
		p.want(t, "+a -a closed")
		testkit.Equal(t, c.Err(), wrong, "cause")
	})
}

func TestTakenHandlerPanics(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		p := newParts((*Conn).HandOff)
		cfg := p.config(t)
		cfg.OnRequest = func(_ context.Context, c *Conn) error {
			err := c.Reader().Skip(c.Reader().Len())
			c.HandOff()
			if err == nil {
				panic("wrong")
			}
			return err
		}
		c := newKindOfConn(t, kind, cfg, data("a"))
		p.want(t, "closed")
		var cause *PanicError
		if got := c.Err(); !errors.As(got, &cause) || cause.Value != "wrong" {
			t.Errorf("got cause %v, want the panic", got)
		}
	})
}

// TestPeerLeavesTakenHandlers: after the peer's FIN handlers go on and may write,
// after a reset there is nothing to write to; OnDisconnect tells them.
func TestPeerLeavesTakenHandlers(t *testing.T) {
	for _, how := range []struct {
		err  error
		open bool
	}{{io.EOF, true}, {syscall.ECONNRESET, false}} {
		eachKind(t, func(t *testing.T, kind string) {
			p := newParts((*Conn).HandOff)
			c := newKindOfConn(t, kind, p.config(t), data("a"))
			p.want(t, "+a")
			c.sock.feed(data("b"))
			p.want(t, "+a +b")
			c.sock.feed(fails(how.err))
			p.want(t, "+a +b disconnect")
			if _, err := c.Write([]byte("late")); (err == nil) != how.open {
				t.Errorf("write after %v: got %v", how.err, err)
			}
			p.end("b", nil)
			p.want(t, "+a +b disconnect -b")
			p.end("a", nil)
			p.want(t, "+a +b disconnect -b -a closed")
			testkit.ErrorIs(t, c.Err(), how.err, "cause")
		})
	}
}

// TestOfferMisuse: each is a bug of the caller, found at once.
func TestOfferMisuse(t *testing.T) {
	wantBug := func(t *testing.T, what string, f func()) {
		defer func() {
			if v := recover(); !strings.HasPrefix(fmt.Sprint(v), "conn: BUG: ") {
				t.Errorf("%s: got %v, want a panic", what, v)
			}
		}()
		f()
	}
	synctest.Test(t, func(t *testing.T) {
		p := newParts(func(c *Conn) {
			c.Offer()
			wantBug(t, "offer twice", c.Offer)
			wantBug(t, "pause after offer", c.Pause)
		})
		cfg := p.config(t)
		cfg.OnConnect = func(_ context.Context, c *Conn) context.Context {
			wantBug(t, "offer in OnConnect", c.Offer)
			wantBug(t, "pause in OnConnect", c.Pause)
			return nil
		}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("a"))
		p.want(t, "+a")
		p.end("a", nil)
		synctest.Wait()
		wantBug(t, "EndWork", c.EndWork)
		c.Close()
		synctest.Wait()
		if c.BeginWork() {
			t.Error("BeginWork on a connection that has ended: got true")
		}
	})
}

// TestPause: nothing is read from a paused connection until Resume, and then
// OnRequest gets what it left and what came.
func TestPause(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		r := &record{}
		full := true
		cfg := Config{OnRequest: func(ctx context.Context, c *Conn) error {
			if full {
				r.add(fmt.Sprintf("full:%d", c.Reader().Len()))
				c.Pause()
				return nil
			}
			return r.lineHandler(ctx, c)
		}}
		c := newKindOfConn(t, kind, cfg, data("a\nb\n"))
		r.onClose(t, c.Conn)
		r.want(t, "full:4")
		c.wantHolder(t, holderPaused)
		c.sock.feed(data("c\n"))
		time.Sleep(10 * fakePeriod)
		r.want(t, "full:4")
		if !c.Resume() {
			t.Error("Resume says that the connection is closed")
		}
		r.want(t, "full:4 full:4")
		full = false
		c.Resume()
		r.want(t, "full:4 full:4 line:a line:b line:c")
		c.Resume() // nothing is paused
		full = true
		c.sock.feed(data("d\n"))
		r.want(t, "full:4 full:4 line:a line:b line:c full:2")
		c.Close()
		r.want(t, "full:4 full:4 line:a line:b line:c full:2 closed")
		if c.Resume() {
			t.Error("a closed connection was resumed")
		}
		synctest.Wait()
	})
}

// TestResumeBeforeRest: Resume may come before the paused connection is at rest.
func TestResumeBeforeRest(t *testing.T) {
	for _, how := range []string{"return", "hand off", "offer"} {
		t.Run(how, func(t *testing.T) {
			eachKind(t, func(t *testing.T, kind string) {
				r := &record{}
				calls := 0
				cfg := Config{OnRequest: func(ctx context.Context, c *Conn) error {
					if calls++; calls > 1 {
						return r.lineHandler(ctx, c)
					}
					c.Pause()
					switch how {
					case "hand off":
						c.Resume()
						c.HandOff()
					case "offer":
						c.Offer()
						c.Resume()
						time.Sleep(3 * fakePeriod)
					default:
						c.Resume()
					}
					return nil
				}}
				c := newKindOfConn(t, kind, cfg, data("a\nb"))
				time.Sleep(5 * fakePeriod)
				r.want(t, "line:a partial:b")
				c.Close()
			})
		})
	}
}

// TestTakenWhilePaused: the sweep takes the reading side of a handler that has
// paused, and still nothing is read before Resume.
func TestTakenWhilePaused(t *testing.T) {
	for _, kind := range connKinds[:3] {
		testkit.Bubble(t, kind, func(t *testing.T) {
			p := newParts(func(c *Conn) { c.Pause(); c.Offer() })
			c := newKindOfConn(t, kind, p.config(t), data("a"))
			p.want(t, "+a")
			time.Sleep(3 * fakePeriod)
			c.wantHolder(t, holderPaused)
			c.sock.feed(data("b"))
			p.want(t, "+a")
			c.Resume()
			p.want(t, "+a +b")
			p.end("b", nil)
			p.end("a", nil)
			synctest.Wait()
			c.wantHolder(t, holderPaused)
			c.Resume()
			c.Close()
		})
	}
}

// TestHangupWhilePaused: the poller tells OnDisconnect; what came before is
// handled when the pause is over.
func TestHangupWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		full := true
		cfg := r.config()
		cfg.OnRequest = func(ctx context.Context, c *Conn) error {
			if full {
				c.Pause()
				return nil
			}
			return r.lineHandler(ctx, c)
		}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("a\n"))
		r.onClose(t, c.Conn)
		c.wantHolder(t, holderPaused)
		c.sock.feed(data("b\n"), end)
		r.want(t, "disconnect")
		if c.IsActive() {
			t.Error("active although the peer has gone")
		}
		full = false
		c.Resume()
		r.want(t, "disconnect line:a line:b closed")
	})
}

// TestWork: with work beside the callbacks a connection is not idle, and neither
// Drain nor the peer's end close it; Close does, but its callbacks wait.
func TestWork(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ended func(c *fakeConn)
		want  string // at once
		then  string // once the work has ended
		cause error
	}{
		{"idle", func(c *fakeConn) { _ = c.SetIdleTimeout(time.Minute) }, "request:a", "request:a closed", ErrIdleTimeout},
		{"drain", func(c *fakeConn) { c.Drain() }, "request:a", "request:a closed", net.ErrClosed},
		{"fin", func(c *fakeConn) { c.sock.feed(end) }, "request:a disconnect", "request:a disconnect closed", io.EOF},
		{"reset", func(c *fakeConn) { c.sock.feed(fails(syscall.ECONNRESET)) }, "request:a disconnect", "request:a disconnect closed", syscall.ECONNRESET},
		{"close", func(c *fakeConn) { c.Close() }, "request:a", "request:a closed", net.ErrClosed},
		{"request and drain", func(c *fakeConn) { c.Drain(); c.sock.feed(data("b")) }, "request:a request:b", "request:a request:b closed", net.ErrClosed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, kind string) {
				r := &record{}
				c := newKindOfConn(t, kind, r.config(), data("a"))
				r.onClose(t, c.Conn)
				r.want(t, "request:a")
				for range 2 {
					if !c.BeginWork() {
						t.Fatal("BeginWork: got false")
					}
				}
				tc.ended(c)
				time.Sleep(time.Hour)
				r.want(t, tc.want)
				c.EndWork()
				time.Sleep(time.Hour)
				r.want(t, tc.want)
				c.EndWork()
				time.Sleep(time.Hour)
				r.want(t, tc.then)
				testkit.ErrorIs(t, c.Err(), tc.cause, "cause")
			})
		})
	}
}

// ranOn is a Runner that counts.
type ranOn struct{ n atomic.Int32 }

func (r *ranOn) Run() { r.n.Add(1) }

// TestGo: as many runs as calls, with a group and without.
func TestGo(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		c := newKindOfConn(t, kind, (&record{}).config())
		var r ranOn
		for range 1000 {
			c.Go(&r)
		}
		synctest.Wait()
		testkit.Equal(t, r.n.Load(), 1000, "runs")
		c.Close()
	})
}

func TestGoAllocatesNothing(t *testing.T) {
	g := newFakeGroup(t, 0)
	c := &Conn{group: g}
	var r ranOn
	n := int32(0)
	allocs := testing.AllocsPerRun(1000, func() {
		c.Go(&r)
		for n++; r.n.Load() < n; {
			time.Sleep(time.Microsecond)
		}
	})
	if allocs > 0 {
		t.Errorf("got %v allocations, want 0", allocs)
	}
}

// TestTasksAndConnectionsTakeTurns: many of one kind do not keep the other waiting.
func TestTasksAndConnectionsTakeTurns(t *testing.T) {
	d := newDispatcher(0)
	d.waking = true // no worker is woken: the test is the worker
	var conns [6]Conn
	var r ranOn
	for i := range conns {
		d.push(&conns[i])
	}
	for range 3 {
		d.run(&r)
	}
	var got strings.Builder
	for range 9 {
		c, task, _ := d.take(nil, false)
		switch {
		case c != nil:
			got.WriteByte('c')
		case task != nil:
			got.WriteByte('t')
		}
	}
	if want := "tctctcccc"[:9]; got.String() != want {
		t.Errorf("got %s, want %s", &got, want)
	}
}

// TestTaskQueue compares the ring with a slice.
func TestTaskQueue(t *testing.T) {
	var q taskQueue
	var model []Runner
	most := 0
	for i := range 100_000 {
		if grow := i/20_000%2 == 0; i%3 == 0 != grow {
			r := new(ranOn)
			q.push(r)
			model = append(model, r)
		} else if len(model) > 0 {
			if got := q.pop(); got != model[0] {
				t.Fatalf("step %d: got another task", i)
			}
			model = model[1:]
		}
		if q.len() != len(model) {
			t.Fatalf("step %d: got length %d, want %d", i, q.len(), len(model))
		}
		most = max(most, len(q.ring))
	}
	for q.len() > 0 {
		q.pop()
	}
	if most <= maxIdleTaskRing || len(q.ring) != 0 {
		t.Errorf("the ring was %d long and is %d, want it to have been long and to be gone", most, len(q.ring))
	}
}
