package sharing

import (
	"context"
	"testing"

	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
)

// Calls of a method that has been quick for long, and then takes its time, keep no quick one from being
// answered, wherever the server runs them.
func TestQuickBesideOccasional(t *testing.T) {
	t.Parallel()
	const rounds, quick = 5, 100
	eachKind(t, func(t *testing.T, k kind) {
		g := newGate()
		c := newCaller(t, k, startAt(t, g, nil).Addr, kiteline.MuxConfig{})
		var held []*calls
		for range rounds {
			// Those that come together with the slow one, and those that come while it is there.
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
		harness.Settles(t, "handlers", g.inside.Load, 0)
	})
}
