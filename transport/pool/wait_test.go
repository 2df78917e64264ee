package pool

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPoolWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := New("test", Config{MaxConnsPerAddress: 1}), &fakePoolDialer{}
		held := mustGet(t, p, d)
		var got []int
		for i := range 50 {
			go func() {
				c := mustGet(t, p, d)
				got = append(got, i)
				if i%3 == 0 {
					must(p.Discard(c))
				} else {
					must(p.Put(c))
				}
			}()
			synctest.Wait()
		}
		if n := checkCounts(t, p).Waiting; n != 50 {
			t.Fatalf("%d wait, want 50", n)
		}
		must(p.Put(held))
		synctest.Wait()
		if !slices.IsSorted(got) || len(got) != 50 {
			t.Fatalf("served in the order %v", got)
		}
		checkCounts(t, p)
		p.Close()
	})
}

func TestPoolWaitEndsWithContext(t *testing.T) {
	for _, tc := range []struct {
		name  string
		begin func() (context.Context, context.CancelFunc)
		want  error
		after time.Duration
	}{
		{"deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Second)
		}, context.DeadlineExceeded, time.Second},
		{"cancelled before", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx, cancel
		}, context.Canceled, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, d := New("test", Config{MaxConnsPerAddress: 1}), &fakePoolDialer{}
				held := mustGet(t, p, d)
				ctx, cancel := tc.begin()
				defer cancel()
				start := time.Now()
				c, err := p.Get(ctx, "tcp", fakeAddress, d.option())
				if c != nil || !errors.Is(err, tc.want) {
					t.Fatalf("got %v, %v, want %v", c, err, tc.want)
				}
				var op *net.OpError
				if !errors.As(err, &op) || op.Timeout() != (tc.after > 0) || op.Addr.String() != fakeAddress {
					t.Fatalf("got %#v", err)
				}
				if waited := time.Since(start); waited != tc.after {
					t.Fatalf("waited %v, want %v", waited, tc.after)
				}
				if s := checkCounts(t, p); s.Waiting != 0 || s.WaitTimeouts != 1 || s.Waits != 1 {
					t.Fatalf("got %+v", s.Counts)
				}
				must(p.Put(held))
				if s := checkCounts(t, p); s.Idle != 1 {
					t.Fatalf("got %+v", s.Counts)
				}
				p.Close()
			})
		})
	}
}

// A waiter that is given something while it gives up passes it on. The test puts the two events in
// this order by hand.
func TestPoolWaiterThatGaveUpPassesOn(t *testing.T) {
	for name, give := range map[string]func(*Pool, net.Conn) error{
		"connection": (*Pool).Put, "slot": (*Pool).Discard,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, d := New("test", Config{MaxConnsPerAddress: 1}), &fakePoolDialer{}
				held := mustGet(t, p, d)
				pr := p.peers[netAddr{"tcp", fakeAddress}]
				queue := func() *waiter {
					pr.mu.Lock()
					defer pr.mu.Unlock()
					return pr.claimLocked().waiter
				}
				first := queue()
				var second net.Conn
				go func() { second = mustGet(t, p, d) }()
				synctest.Wait()
				must(give(p, held))
				if !first.isGranted {
					t.Fatal("the first waiter got nothing")
				}
				pr.giveUp(first)
				synctest.Wait()
				if second == nil {
					t.Fatal("the second waiter got nothing")
				}
				third := queue()
				must(p.Put(second))
				pr.giveUp(third)
				if s := checkCounts(t, p); s.Idle != 1 || s.Open != 1 || s.Waiting != 0 {
					t.Fatalf("got %+v", s.Counts)
				}
				fourth := mustGet(t, p, d)
				w := queue()
				must(p.Discard(fourth))
				pr.giveUp(w)
				if s := checkCounts(t, p); s.Open != 0 || d.opened(fakeAddress) != 0 {
					t.Fatalf("got %+v", s.Counts)
				}
				p.Close()
			})
		})
	}
}

func TestPoolFailedDialFreesItsSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 5
		d := &fakePoolDialer{delay: func() time.Duration { return time.Second }}
		d.fail = func() error {
			if failures--; failures == 2 {
				panic("dialer broken")
			}
			if failures >= 0 {
				return errFakeDial
			}
			return nil
		}
		p := New("test", Config{MaxConnsPerAddress: 1})
		var failed, panicked, served atomic.Int32
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				defer func() {
					if recover() != nil {
						panicked.Add(1)
					}
				}()
				c, err := p.Get(t.Context(), "tcp", fakeAddress, d.option())
				if err == nil {
					served.Add(1)
					must(p.Put(c))
				} else if errors.Is(err, errFakeDial) {
					failed.Add(1)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if failed.Load() != 4 || panicked.Load() != 1 || served.Load() != 5 {
			t.Fatalf("%d failed, %d panicked, %d were served", failed.Load(), panicked.Load(), served.Load())
		}
		if s := checkCounts(t, p); s.Dials != 6 || s.DialErrors != 5 || s.Reuses != 4 || s.Idle != 1 {
			t.Fatalf("got %+v", s.Counts)
		}
		p.Close()
	})
}

func TestPoolBurstStaysWithinLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, limit = 1000, 64
		d := &fakePoolDialer{delay: func() time.Duration { return time.Millisecond }}
		p := New("test", Config{MaxConnsPerAddress: limit, MaxIdlePerAddress: limit})
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				c := mustGet(t, p, d)
				time.Sleep(time.Millisecond)
				checkCounts(t, p)
				if i%7 == 0 {
					must(p.Discard(c))
				} else {
					must(p.Put(c))
				}
			})
		}
		all.Wait()
		if n := d.most(); n != limit {
			t.Fatalf("%d sockets at most, want %d", n, limit)
		}
		if s := checkCounts(t, p); s.Waits != callers-limit || s.InUse != 0 {
			t.Fatalf("got %+v", s.Counts)
		}
		p.Close()
		if n := d.opened(fakeAddress); n != 0 {
			t.Fatalf("%d sockets after Close", n)
		}
	})
}

func TestPoolCloseSendsWaitersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakePoolDialer{}
		p := New("test", Config{MaxConnsPerAddress: 2})
		held, idle := mustGet(t, p, d), mustGet(t, p, d)
		var failed atomic.Int32
		for range 3 {
			go func() {
				_, err := p.Get(t.Context(), "tcp", fakeAddress, d.option())
				if errors.Is(err, ErrClosed) && errors.Is(err, net.ErrClosed) {
					failed.Add(1)
				}
			}()
		}
		synctest.Wait()
		d.delay = func() time.Duration { return time.Hour }
		var dialErr error
		go func() { _, dialErr = p.Get(t.Context(), "tcp", "10.0.0.2:80", d.option()) }()
		synctest.Wait()
		for range 2 {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := failed.Load(); n != 3 {
			t.Fatalf("%d waiters failed, want 3", n)
		}
		for _, address := range []string{fakeAddress, "10.0.0.3:80"} {
			if _, err := p.Get(t.Context(), "tcp", address, d.option()); !errors.Is(err, ErrClosed) {
				t.Fatalf("got %v", err)
			}
		}
		must(p.Put(idle))
		must(p.Put(held))
		time.Sleep(2 * time.Hour) // the dial ends
		synctest.Wait()
		if !errors.Is(dialErr, ErrClosed) {
			t.Fatalf("got %v", dialErr)
		}
		if s := checkCounts(t, p); s.Open != 0 || d.opened(fakeAddress)+d.opened("10.0.0.2:80") != 0 {
			t.Fatalf("got %+v", s.Counts)
		}
	})
}
