package sharing

import (
	"context"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/pool"
)

const crowd = 3000

// Thousands of calls in handlers do not delay quick ones.
func TestQuickBesideCrowd(t *testing.T) {
	beside(t)
	if testkit.Long {
		measureCrowd(t)
		return
	}
	eachKind(t, func(t *testing.T, k kind) {
		callers := crowd
		if k == pooled {
			callers = crowd / 10 // more of them would add nothing
		}
		g := newGate()
		c := newCaller(t, k, startAt(t, g, nil).Addr, pool.MuxConfig{})
		if err := c.call(); err != nil { // so that the client knows its server
			t.Fatal(err)
		}
		held := start(callers, func(int) error { return c.echo(context.Background(), "held", nil) })
		g.awaits(t, callers)
		timed(t, 50, 1, c.call)
		g.open()
		held.end(t, "the crowd's calls")
	})
}

// measureCrowd makes quick calls beside callers whose calls take a second each.
func measureCrowd(t *testing.T) {
	t.Helper()
	_, addr, _ := startApart(t)
	clients := map[kind]*caller{}
	for _, k := range kinds() {
		clients[k] = newCaller(t, k, addr, pool.MuxConfig{})
	}
	compare(t, "quick calls beside 3000 callers of 1 s", 99, bound{1.1, time.Millisecond, false}, func(k kind) []time.Duration {
		stop := make(chan struct{})
		many := start(crowd, func(n int) error {
			// Their calls begin at times spread over the second.
			timer := time.NewTimer(time.Duration(n) * time.Second / crowd)
			defer timer.Stop()
			for {
				select {
				case <-stop:
					return nil
				case <-timer.C:
				}
				if err := clients[k].delayed(1000); err != nil {
					return err
				}
				timer.Reset(0)
			}
		})
		wait := time.NewTimer(1500 * time.Millisecond) // until all callers are busy
		defer wait.Stop()
		<-wait.C
		took := timed(t, 4, 300, clients[k].call)
		close(stop)
		many.end(t, "the crowd's calls")
		return took
	})
}
