package sharing

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// A server that stops answers all calls that it has begun and that end within ExitWaitTime, however
// long calls of the other kind take.
func TestStop(t *testing.T) {
	for _, lasting := range kinds() {
		t.Run(fmt.Sprintf("a %v call outlasts it", lasting), func(t *testing.T) {
			t.Parallel()
			const exitWait, slow, quick, callers = 1500 * time.Millisecond, 700, 10, 10
			g := newGate()
			s := harness.Start(t, harness.ServerConfig{New: harness.NewEcho(g), ForcedStop: true, Options: []server.Option{
				server.WithExitWaitTime(exitWait),
			}})
			t.Cleanup(g.open)
			var load []*calls
			for _, k := range kinds() {
				c := newCaller(t, k, s.Addr, pool.MuxConfig{})
				load = append(load, start(1, func(int) error { return c.delayed(slow) }),
					start(callers, func(n int) error { return c.delayedUntilRefused(g, k, n, quick) }))
				if k == lasting {
					outlasting := start(1, func(int) error { return c.echo(context.Background(), "held", nil) })
					defer func() { <-outlasting.done }()
				}
			}
			g.awaits(t, 1)
			testkit.Eventually(t, "all callers are at work", func() bool { return g.delays.Load() > 10*callers })
			if took, _ := s.Stop(); took < exitWait/2 {
				t.Errorf("Stop took %v although a call outlasts it, want %v", took, exitWait)
			}
			g.open()
			for i, c := range load {
				c.end(t, fmt.Sprintf("%v calls, shorter than ExitWaitTime", kinds()[i/2]))
			}
		})
	}
}

// delayed makes a call that takes the server some milliseconds.
func (c *caller) delayed(millis int32) error {
	_, err := c.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Text: "delayed"}, DelayMillis: millis})
	return err
}

// delayedUntilRefused makes such calls until one gets no connection, with a pause between them. The
// server may close a pooled connection in a pause, while the next request is on its way. The client
// sees that as an error too, but of a call that has not begun.
func (c *caller) delayedUntilRefused(g *gate, k kind, caller int, millis int32) error {
	ticker := time.NewTicker(3 * time.Duration(millis) * time.Millisecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		text := fmt.Sprintf("%v %d of %d", k, n, caller)
		_, err := c.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Text: text}, DelayMillis: millis})
		switch {
		case errors.Is(err, kerrors.ErrGetConnection):
			return nil
		case err != nil && k == pooled && !g.hasBegun(text):
			return nil
		case err != nil:
			return err
		}
		<-ticker.C
	}
}
