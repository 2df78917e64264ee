package pool

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
)

func TestPoolClosesWhatIsIdleInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = time.Minute
		d := &fakePoolDialer{}
		p := New("test", Config{MaxIdlePerAddress: 1000, MaxIdleTimeout: timeout})
		type rest struct {
			c     *fakePoolConn
			since time.Time
		}
		var resting []rest
		var held []net.Conn
		for range 100 {
			held = append(held, mustGet(t, p, d))
		}
		for len(held) > 0 || len(resting) > 0 {
			if len(held) > 0 {
				must(p.Put(held[0]))
				resting = append(resting, rest{fakeOf(held[0]), time.Now()})
				held = held[1:]
			}
			time.Sleep(time.Second)
			for len(resting) > 0 && resting[0].c.closed.Load() {
				resting = resting[1:]
			}
			if len(resting) == 0 {
				continue
			}
			if idle := time.Since(resting[0].since); idle > timeout*11/10 {
				t.Fatalf("idle for %v", idle)
			}
			for _, r := range resting {
				if r.c.closed.Load() && time.Since(r.since) < timeout {
					t.Fatalf("closed after %v", time.Since(r.since))
				}
			}
		}
		if s := checkCounts(t, p); s.ClosedExpired != 100 || s.Open != 0 {
			t.Fatalf("got %+v", s.Counts)
		}
		time.Sleep(timeout * 11 / 10)
		if s := checkCounts(t, p); len(s.Addresses) != 0 || s.Dials != 100 {
			t.Fatalf("address not forgotten: %+v", s)
		}
		if p.expiry.at.Load() != int64(forever) {
			t.Fatal("the timer is set although nothing can expire")
		}
		must(p.Put(mustGet(t, p, d))) // a forgotten address comes back
		p.Close()
	})
}

// TestPoolForgetsAddresses: a pool forgets addresses without connections, even if idle connections
// are kept forever.
func TestPoolForgetsAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New("test", Config{MaxIdleTimeout: -1})
		defer p.Close()
		d := &fakePoolDialer{fail: func() error { return errFakeDial }}
		for i := range 100 {
			if _, err := p.Get(t.Context(), "tcp", fmt.Sprintf("peer:%d", i), d.option()); !errors.Is(err, errFakeDial) {
				t.Fatalf("got %v, want %v", err, errFakeDial)
			}
		}
		time.Sleep(2 * defaultMaxIdleTimeout)
		if s := checkCounts(t, p); len(s.Addresses) != 0 || s.DialErrors != 100 {
			t.Errorf("got %d addresses and %d failed dials, want 0 and 100", len(s.Addresses), s.DialErrors)
		}
	})
}

func TestPoolKeepsMinIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakePoolDialer{}
		p := New("test", Config{MinIdlePerAddress: 2, MaxIdleTimeout: time.Minute})
		held := []net.Conn{mustGet(t, p, d), mustGet(t, p, d), mustGet(t, p, d), mustGet(t, p, d)}
		for _, c := range held {
			must(p.Put(c))
		}
		time.Sleep(time.Hour)
		if s := checkCounts(t, p); s.Idle != 2 || s.ClosedExpired != 2 || fakeOf(held[3]).closed.Load() {
			t.Fatalf("got %+v", s.Counts)
		}
		if p.expiry.at.Load() != int64(forever) {
			t.Fatal("the timer is set for what is to be kept")
		}
		if c := mustGet(t, p, d); fakeOf(c).id != 4 {
			t.Fatal("one that was kept is not used")
		} else {
			must(p.Put(c))
		}
		// A third connection makes the one that was idle for an hour surplus.
		a, b, c := mustGet(t, p, d), mustGet(t, p, d), mustGet(t, p, d)
		must(p.Put(b))
		time.Sleep(time.Hour)
		must(p.Put(a))
		must(p.Put(c))
		time.Sleep(10 * time.Second)
		if s := checkCounts(t, p); s.Idle != 2 || !fakeOf(b).closed.Load() {
			t.Fatalf("got %+v", s.Counts)
		}
		p.Close()
	})
}

func TestPoolMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const age, step = time.Hour, time.Minute
		d := &fakePoolDialer{}
		p := New("test", Config{MaxIdlePerAddress: 200, MaxIdleTimeout: -1, MaxAge: age})
		var held []net.Conn
		for range 101 {
			held = append(held, mustGet(t, p, d))
		}
		inUse := held[100]
		held = held[:100]
		for _, c := range held {
			must(p.Put(c))
		}
		var first, last time.Duration
		for now := time.Duration(0); now < 2*age; now += step {
			time.Sleep(step)
			n := 0
			for _, c := range held {
				if fakeOf(c).closed.Load() {
					n++
				}
			}
			if n > 0 && first == 0 {
				first = now + step
			}
			if n == len(held) {
				last = now + step
				break
			}
		}
		if first < age*9/10 || last > age*12/10 || last-first < age/10 {
			t.Fatalf("closed from %v to %v", first, last)
		}
		time.Sleep(age)
		if fakeOf(inUse).closed.Load() {
			t.Fatal("closed while in use")
		}
		must(p.Put(inUse))
		if s := checkCounts(t, p); s.ClosedAge != 101 || s.Open != 0 {
			t.Fatalf("got %+v", s.Counts)
		}
		p.Close()
	})
}

// A connection that cannot tell whether it is alive is not used once its time is over.
func TestPoolWithoutIsActiveTrustsTimeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakePoolDialer{plain: true}
		p := New("test", Config{MinIdlePerAddress: 5, MaxIdleTimeout: time.Minute})
		must(p.Put(mustGet(t, p, d)))
		time.Sleep(59 * time.Second)
		must(p.Put(mustGet(t, p, d)))
		if d.dialed() != 1 {
			t.Fatal("not used again within its time")
		}
		time.Sleep(61 * time.Second)
		must(p.Put(mustGet(t, p, d)))
		if s := checkCounts(t, p); d.dialed() != 2 || s.ClosedExpired != 1 {
			t.Fatalf("used again after its time: %+v", s.Counts)
		}
		p.Close()
	})
}

// An expired connection is not handed out even if the timer has not fired yet.
func TestPoolChecksAgeBeforeUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakePoolDialer{}
		p := New("test", Config{MaxAge: time.Hour})
		c := mustGet(t, p, d)
		must(p.Put(c))
		checkoutOf(c).of.ageEnd = p.now()
		must(p.Put(mustGet(t, p, d)))
		if s := checkCounts(t, p); s.ClosedAge != 1 || s.Dials != 2 || s.Idle != 1 {
			t.Fatalf("got %+v", s.Counts)
		}
		must(p.Close())
	})
}

// TestPoolForgetsMemory calls many addresses once each. When all are forgotten nothing of them is
// left.
func TestPoolForgetsMemory(t *testing.T) {
	const addresses = 20_000
	synctest.Test(t, func(t *testing.T) {
		pool := New("test", Config{})
		defer pool.Close()
		opt := remote.ConnOption{Dialer: &fakePoolDialer{fail: func() error { return errFakeDial }}}
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := heap()
		for i := range addresses {
			if _, err := pool.Get(t.Context(), "tcp", fmt.Sprintf("10.0.%d.%d:80", i/250, i%250), opt); !errors.Is(err, errFakeDial) {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * pool.config.forgetAfter())
		synctest.Wait()
		if n := len(pool.Stats().Addresses); n != 0 {
			t.Errorf("%d addresses known", n)
		}
		left := int64(0)
		for range 10 { // a sync.Pool is empty after the second collection
			if left = (heap() - before) / addresses; left <= 20 {
				break
			}
		}
		if left > 20 {
			t.Errorf("%d bytes left of each address, want none", left)
		}
		runtime.KeepAlive(pool)
	})
}
