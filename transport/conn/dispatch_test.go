package conn

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// wakeUps returns how many parked workers f wakes.
func wakeUps(d *dispatcher, f func()) int {
	before := parked(d)
	f()
	return before - parked(d)
}

func parked(d *dispatcher) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.idle)
}

// queued returns n ready connections whose handler is f.
func queued(t *testing.T, g *Group, n int, f func()) []*fakeConn {
	conns := make([]*fakeConn, n)
	for i := range conns {
		conns[i] = newFakeConn(t, Config{OnRequest: func(_ context.Context, c *Conn) error {
			f()
			return c.Reader().Skip(c.Reader().Len())
		}}, g)
	}
	synctest.Wait()
	return conns
}

// TestWakeUpsAreThrottled: until the woken worker has looked at the queue, additions wake no other
// worker.
func TestWakeUpsAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(0)
		g := &Group{dispatcher: d, sweeper: newSweeper(fakePeriod), clock: newClock()}
		t.Cleanup(func() { g.Close() })
		var served atomic.Int32
		conns := queued(t, g, 200, func() { served.Add(1) })
		for _, c := range conns {
			c.transition(eventReadable)
			c.sock.steps = []fakeStep{data("x")}
		}
		// With the lock held no worker can look at the queue yet.
		roused := 0
		d.mu.Lock()
		for _, c := range conns {
			d.conns.push(c.Conn)
			d.waiting.Add(1)
			w, wanted := d.wakeLocked()
			if wanted {
				roused++
				go d.rouse(w, wanted)
			}
		}
		d.mu.Unlock()
		if roused != 1 {
			t.Errorf("got %d wake-ups for a burst of 200, want 1", roused)
		}
		synctest.Wait()
		testkit.Equal(t, served.Load(), 200, "served")
	})
}

// TestBlockedHandlersHoldNothingBack: however many handlers block, the next
// connection is served.
func TestBlockedHandlersHoldNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 1)
		release := make(chan struct{})
		var entered atomic.Int32
		conns := queued(t, g, 100, func() { entered.Add(1); <-release })
		for i, c := range conns {
			c.sock.feed(data("x"))
			if i%2 == 0 {
				synctest.Wait()
				if got := int(entered.Load()); got != i+1 {
					t.Fatalf("got %d handlers entered, want %d", got, i+1)
				}
			}
		}
		synctest.Wait()
		testkit.Equal(t, int(entered.Load()), len(conns), "handlers entered")
		close(release)
		synctest.Wait()
		if got := parked(g.dispatcher); got > g.dispatcher.maxIdle {
			t.Errorf("got %d parked workers, want at most %d", got, g.dispatcher.maxIdle)
		}
	})
}

// TestTasks: workers run tasks too, even while other workers are busy.
func TestTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(0)
		release := make(chan struct{})
		var ran atomic.Int32
		for range 50 {
			d.do(func() { ran.Add(1); <-release })
		}
		synctest.Wait()
		testkit.Equal(t, ran.Load(), 50, "tasks running")
		close(release)
		synctest.Wait()
		testkit.Equal(t, wakeUps(d, func() { d.wake() }), 0, "workers woken for nothing")
		d.close()
		testkit.Equal(t, parked(d), 0, "parked workers after close")
	})
}

// TestCloseWaitsForWorkers: close returns after the last callback, and what was queued before it is
// served.
func TestCloseWaitsForWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDispatcher(0)
		var done atomic.Int32
		for range 10 {
			d.do(func() { time.Sleep(time.Second); done.Add(1) })
		}
		start := time.Now()
		d.close()
		testkit.Equal(t, done.Load(), 10, "tasks done")
		if took := time.Since(start); took != time.Second {
			t.Errorf("close took %v, want %v", took, time.Second)
		}
	})
}

// TestQueueIsFair: first come, first served.
func TestQueueIsFair(t *testing.T) {
	d := newDispatcher(0)
	d.waking = true // so that no worker comes
	conns := make([]*Conn, 10)
	for i := range conns {
		conns[i] = &Conn{}
		d.push(conns[i])
	}
	testkit.Equal(t, d.waiting.Load(), 10, "waiting")
	if d.startLingering() {
		t.Error("lingering although others wait")
	}
	for i, want := range conns {
		got, _, ok := d.take(&worker{}, false)
		if got != want || !ok {
			t.Errorf("take %d: got %p, want %p", i, got, want)
		}
	}
	if d.conns.head != nil || d.conns.tail != nil || d.waiting.Load() != 0 {
		t.Error("the queue is not empty")
	}
}

// TestMaxLingering: zero means a default, less none, and more than the counter holds no less.
func TestMaxLingering(t *testing.T) {
	for given, want := range map[int]int32{
		-1: 0, 0: int32(lingeringPerProc * runtime.GOMAXPROCS(0)), 1: 1, math.MaxInt: math.MaxInt32,
	} {
		g, err := NewGroup(GroupConfig{MaxLingering: given})
		if err != nil {
			t.Fatal(err)
		}
		if got := g.dispatcher.maxLingering; got != want {
			t.Errorf("%d: got %d, want %d", given, got, want)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
