package sharing

import (
	"context"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/promise"
	"github.com/kiteline/kiteline/transport/pool"
)

// Requests in handlers hold no more memory than the server announces. The others are refused and
// sent again, and none fails.
func TestLargeRequestsInHandlers(t *testing.T) {
	if testkit.Long {
		promise.Alone(t)
		measureLargeRequests(t)
		return
	}
	t.Parallel()
	const requests, perConn, perServer, size = 100, 1 << 20, 2 << 20, 128 << 10
	g := newGate()
	s := startAt(t, g, nil, withHeldBytes(perConn, perServer))
	c := newCaller(t, shared, s.Addr, pool.MuxConfig{})
	attached := make([]byte, size)
	held := start(requests, func(int) error { return c.echo(context.Background(), "held", attached) })
	testkit.Eventually(t, "requests are refused", func() bool { return c.stats(t).Refused > 0 })
	g.open()
	held.end(t, "large requests")
	if most, bound := g.most.Load()*size, int64(perServer+perServer/10); most > bound {
		t.Errorf("%d KiB of requests were in handlers, want %d KiB at most", most>>10, bound>>10)
	}
}

// measureLargeRequests sends 100 requests of 8 MiB to a server with the default bounds.
func measureLargeRequests(t *testing.T) {
	t.Helper()
	const (
		requests, size = 100, 8 << 20
		bound          = 256 << 20 // of the server; see muxserver.Config
	)
	server, addr, _ := startApart(t)
	c := newCaller(t, shared, addr, pool.MuxConfig{})
	if err := c.call(); err != nil {
		t.Fatal(err)
	}
	attached := make([]byte, size)
	before := server.AskNumber("memory")
	held := start(requests, func(int) error { return c.echo(context.Background(), "held", attached) })
	var peak, inside int64
	for settled := 0; settled < 20; settled++ { // until no more come in
		peak = max(peak, server.AskNumber("memory"))
		if now := server.AskNumber("held"); now != inside {
			inside, settled = now, 0
		}
		timer := time.NewTimer(50 * time.Millisecond)
		<-timer.C
	}
	server.Ask("open-gate")
	held.end(t, "large requests")
	checkCount(t, "100 requests of 8 MiB in handlers: MiB of the server's memory", (peak-before)>>20, (bound+bound/10)>>20)
	checkCount(t, "100 requests of 8 MiB in handlers: failed calls", len(held.failed()), 0)
	t.Logf("%d requests were in handlers at a time", inside)
}
