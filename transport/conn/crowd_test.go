package conn

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/poller"
)

// skipAll is a handler that takes everything.
func skipAll(_ context.Context, c *Conn) error { return c.Reader().Skip(c.Reader().Len()) }

// TestCrowdArmsOnce: among more connections than may linger, one is not armed for each request, and
// the peer's end is still seen.
func TestCrowdArmsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 0)
		c := newFakeConn(t, Config{OnRequest: skipAll}, g)
		for range 50 {
			c.sock.feed(data("x"))
			c.wantHolder(t, holderDormant)
		}
		if got, want := c.watcher.arms, 2; got != want { // when it was opened, and to stay
			t.Errorf("got %d armings for 50 requests, want %d", got, want)
		}
		if got, want := c.watcher.armed(), poller.InterestRead|poller.InterestStay; got != want {
			t.Errorf("armed for %v, want %v", got, want)
		}
		c.sock.feed(end)
		c.wantHolder(t, holderClosed)
	})
}

// TestCrowdDisperses: a connection lingers again once few are in use, which ends the arming that
// stays.
func TestCrowdDisperses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 1)
		a := newFakeConn(t, Config{OnRequest: skipAll}, g)
		b := newFakeConn(t, Config{OnRequest: skipAll}, g)
		for _, c := range []*fakeConn{a, b, a} {
			c.sock.feed(data("x"))
			c.wantHolder(t, holderDormant)
		}
		if got := a.watcher.disarms; got != 0 {
			t.Fatalf("got %d disarmings in a crowd, want none", got)
		}
		for range 10 {
			time.Sleep(fakePeriod / 2)
			a.sock.feed(data("x"))
			synctest.Wait()
		}
		a.wantHolder(t, holderLingering)
		if got, want := a.watcher.disarms, 1; got != want {
			t.Errorf("got %d disarmings, want %d", got, want)
		}
		time.Sleep(4 * fakePeriod) // the sweep ends its lingering
		a.wantHolder(t, holderDormant)
		if got, want := a.watcher.armed(), poller.InterestRead; got != want {
			t.Errorf("armed for %v, want %v", got, want)
		}
		a.sock.feed(data("x"))
		b.sock.feed(data("x"))
		synctest.Wait()
	})
}

// TestStayingReportsWhileHeld: the worker looks once more if the poller reported bytes or the
// peer's end while the worker still had the connection.
func TestStayingReportsWhileHeld(t *testing.T) {
	for name, next := range map[string]fakeStep{"data": data("b"), "fin": end} {
		testkit.Bubble(t, name, func(t *testing.T) {
			var c *fakeConn
			var requests atomic.Int32
			c = newFakeConn(t, Config{OnRequest: func(ctx context.Context, own *Conn) error {
				if requests.Add(1) == 2 { // by now the arming stays
					c.sock.feed(next)
					time.Sleep(time.Millisecond) // the report comes while the handler runs
				}
				return skipAll(ctx, own)
			}}, newFakeGroup(t, 0))
			for range 2 {
				c.sock.feed(data("a"))
				synctest.Wait()
			}
			time.Sleep(2 * time.Millisecond)
			if next.err != nil {
				c.wantHolder(t, holderClosed)
				return
			}
			c.wantHolder(t, holderDormant)
			testkit.Equal(t, requests.Load(), 3, "requests")
		})
	}
}

// TestStayingLooksAtTheLevel: the sweep finds bytes that a short read left behind and that no edge
// will report, as at an urgent mark.
func TestStayingLooksAtTheLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var requests atomic.Int32
		c := newFakeConn(t, Config{OnRequest: func(ctx context.Context, own *Conn) error {
			requests.Add(1)
			return skipAll(ctx, own)
		}}, newFakeGroup(t, 0))
		c.sock.feed(data("a"))
		c.wantHolder(t, holderDormant) // the arming stays
		c.sock.mu.Lock()
		c.sock.edge = nil // no edge for what comes behind a short read
		c.sock.mu.Unlock()
		c.sock.feed(data("b"), data("c"))
		c.wantHolder(t, holderDormant)
		if got := requests.Load(); got != 2 {
			t.Fatalf("got %d requests, want the bytes behind the short read left behind", got)
		}
		time.Sleep(4 * fakePeriod)
		c.wantHolder(t, holderDormant)
		testkit.Equal(t, requests.Load(), 3, "requests after the sweep")
	})
}

// TestSweepSeesWhoRests: the sweep looks after a connection that rests with an arming that stays,
// although it dropped the connection while the handler ran. It must find bytes that a short read
// left behind.
func TestSweepSeesWhoRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 0)
		g.sweeper.inUse.Add(10) // others
		c := newFakeConn(t, Config{OnRequest: func(ctx context.Context, own *Conn) error {
			time.Sleep(10 * fakePeriod)
			if own.usage.listed.Load() {
				t.Error("not dropped during a handler")
			}
			return skipAll(ctx, own)
		}}, g)
		c.sock.feed(data("a"))
		time.Sleep(10*fakePeriod + time.Nanosecond)
		c.wantHolder(t, holderDormant)
		if !c.arming.staying.Load() || !c.usage.listed.Load() {
			t.Errorf("rests, the arming stays: %v, the sweep looks after it: %v, want both", c.arming.staying.Load(), c.usage.listed.Load())
		}
	})
}

// TestSweepSeesWhoBeganToLinger: the sweep ends the lingering of a connection although two sweeps
// passed between its request and its lingering.
func TestSweepSeesWhoBeganToLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 1)
		c := newFakeConn(t, Config{OnRequest: skipAll}, g)
		g.sweeper.inUse.Add(10)
		c.sock.feed(data("a"))
		c.wantHolder(t, holderDormant)
		g.sweeper.inUse.Add(-10)
		c.watcher.callOnDisarm(func() { time.Sleep(3 * fakePeriod) }) // as a loaded machine may
		c.sock.feed(data("b"))
		time.Sleep(4 * fakePeriod)
		c.watcher.callOnDisarm(nil)
		time.Sleep(5 * fakePeriod)
		c.wantHolder(t, holderDormant)
	})
}
