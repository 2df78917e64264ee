package sharing

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/pool"
)

// Calls of a method that has long been quick, and then takes its time, do not delay quick ones,
// wherever the server runs them.
func TestQuickBesideOccasional(t *testing.T) {
	beside(t)
	if testkit.Long {
		measureOccasional(t)
		return
	}
	const rounds, quick = 5, 100
	eachKind(t, func(t *testing.T, k kind) {
		g := newGate()
		c := newCaller(t, k, startAt(t, g, nil).Addr, pool.MuxConfig{})
		var held []*calls
		for range rounds {
			// Some come together with the slow one, and some come while it runs.
			together := start(quick, func(n int) error {
				if n == quick/2 {
					held = append(held, start(1, func(int) error { return c.echo(context.Background(), "held", nil) }))
					return nil
				}
				return c.call()
			})
			if !together.end(t, "quick calls that come with a slow one") {
				break
			}
			g.awaits(t, len(held))
			start(quick, func(int) error { return c.call() }).end(t, "quick calls beside it")
		}
		g.open()
		for _, h := range held {
			h.end(t, "a slow call")
		}
		testkit.Settles(t, "handlers", g.inside.Load, 0)
	})
}

// measureOccasional lets callers make quick calls while one of 4 ms comes each 50 ms, and while one
// in a hundred of their own takes a millisecond.
func measureOccasional(t *testing.T) {
	t.Helper()
	const callers, each = 4, 2500
	body := make([]byte, 1<<10)
	_, addr, _ := startApart(t)
	clients := map[kind]*caller{}
	for _, k := range kinds() {
		clients[k] = newCaller(t, k, addr, pool.MuxConfig{})
		timed(t, callers, each, clients[k].call)
	}
	limit := bound{factor: 1.2, aim: true}
	compare(t, "1 KiB calls beside one of 4 ms each 50 ms", 99, limit, func(k kind) []time.Duration {
		stop := make(chan struct{})
		slow := start(1, func(int) error {
			ticker := time.NewTicker(50 * time.Millisecond)
			defer ticker.Stop()
			for {
				select {
				case <-stop:
					return nil
				case <-ticker.C:
				}
				if err := clients[k].delayed(4); err != nil {
					return err
				}
			}
		})
		took := timed(t, callers, each, func() error { return clients[k].echo(context.Background(), "quick", body) })
		close(stop)
		slow.end(t, "slow calls")
		return took
	})
	compare(t, "1 KiB calls, 1 % of them 1 ms", 99, limit, func(k kind) []time.Duration {
		var n atomic.Int64
		var mu sync.Mutex
		var took []time.Duration
		timed(t, callers, each, func() error {
			if n.Add(1)%100 == 0 {
				return clients[k].delayed(1)
			}
			began := time.Now()
			err := clients[k].echo(context.Background(), "quick", body)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(began))
			return err
		})
		return took
	})
}
