package sharing

import (
	"context"
	"fmt"
	"testing"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/pool"
)

// mostDials is how many dials a client may make that begins with many simultaneous calls.
const mostDials = maxConns + 8

// A client that begins with many simultaneous calls opens as many connections as it may have, not
// one for each call.
func TestColdStart(t *testing.T) {
	t.Run("calls", func(t *testing.T) {
		t.Parallel()
		const callers = 500
		g := newGate()
		c := newCaller(t, shared, startAt(t, g, nil).Addr, pool.MuxConfig{MaxConns: maxConns})
		held := start(callers, func(int) error { return c.echo(context.Background(), "held", nil) })
		g.awaits(t, callers)
		checkDials(t, c)
		g.open()
		held.end(t, "calls")
	})
	t.Run("oneway", func(t *testing.T) {
		t.Parallel()
		const callers = 300
		g := newGate()
		c := newCaller(t, shared, startAt(t, g, nil).Addr, pool.MuxConfig{MaxConns: maxConns})
		start(callers, func(n int) error {
			return c.Notify(context.Background(), &echo.Message{Text: fmt.Sprint(n)})
		}).end(t, "oneway calls")
		testkit.Eventually(t, "all have come", func() bool { once, _ := g.told(); return once == callers })
		checkDials(t, c)
	})
}

func checkDials(t *testing.T, c *caller) {
	t.Helper()
	if dials := c.stats(t).Dials; dials > mostDials {
		t.Errorf("got %d dials, want %d at most", dials, mostDials)
	}
}
