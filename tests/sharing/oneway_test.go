package sharing

import (
	"context"
	"fmt"
	"testing"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/pool"
)

// Oneway calls that meet a server's limit wait for room: each runs exactly once.
func TestOnewaysAtTheLimit(t *testing.T) {
	for _, l := range serverLimits() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			eachKind(t, func(t *testing.T, k kind) {
				const callers = 300
				g := newGate()
				s := startAt(t, g, nil, l.option())
				c := newCaller(t, k, s.Addr, pool.MuxConfig{})
				if err := c.call(); err != nil {
					t.Fatal(err)
				}
				sent := start(callers, func(n int) error {
					return c.Notify(context.Background(), &echo.Message{Text: fmt.Sprint("held ", n), Attachment: make([]byte, l.bytes)})
				})
				testkit.Eventually(t, "the limit is met", func() bool { return g.held.Load() >= int64(l.calls) })
				g.open()
				sent.end(t, "oneway calls")
				testkit.Eventually(t, "all have been run", func() bool { once, _ := g.told(); return once == callers })
				if _, again := g.told(); again > 0 {
					t.Errorf("%d calls were run more than once", again)
				}
				if err := c.call(); err != nil {
					t.Errorf("a call after them: %v", err)
				}
			})
		})
	}
}
