package sharing

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/limit"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/pool"
)

// A client that may have more connections than the server allows manages with those that it has: it
// tries again less and less often, and no call fails.
func TestConnectionLimit(t *testing.T) {
	beside(t)
	const callers = 8
	// After that many dials the pause has grown from a millisecond to two seconds, by doubling.
	const growing = 12
	lasts := time.Duration(testkit.Scale(2, 24)) * time.Second
	s := startAt(t, newGate(), nil, server.WithLimit(&limit.Option{MaxConnections: 1}))
	c := newCaller(t, shared, s.Addr, pool.MuxConfig{MaxConns: maxConns})
	if err := c.call(); err != nil {
		t.Fatal(err)
	}
	before := c.stats(t).Dials
	var over atomic.Bool
	timer := time.AfterFunc(lasts, func() { over.Store(true) })
	defer timer.Stop()
	load := start(callers, func(int) error {
		for !over.Load() {
			if err := c.call(); err != nil {
				return err
			}
		}
		return nil
	})
	load.end(t, "calls on the connection there is")
	most := growing + uint64(lasts/(2*time.Second))
	checkCount(t, "a server's connection limit: dials in "+lasts.String(), c.stats(t).Dials-before, most)
	checkCount(t, "a server's connection limit: failed calls", len(load.failed()), 0)
}
