package conn

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestIdleTimeoutLooksFirst: a request that has arrived when the idle time is over, but that no
// worker has seen yet, keeps the connection open. Bytes that will never be read do not.
func TestIdleTimeoutLooksFirst(t *testing.T) {
	const timeout = time.Second
	arrive := func(c *fakeConn) { // the poller has not reported it yet
		c.sock.mu.Lock()
		defer c.sock.mu.Unlock()
		c.sock.steps = append(c.sock.steps, data("x"))
	}
	testkit.Bubble(t, "handler", func(t *testing.T) {
		handled := 0
		c := newFakeConn(t, Config{IdleTimeout: timeout, OnRequest: func(_ context.Context, c *Conn) error {
			handled += c.Reader().Len()
			return c.Reader().Skip(c.Reader().Len())
		}}, newFakeGroup(t, 0))
		c.wantHolder(t, holderDormant)
		arrive(c)
		time.Sleep(timeout + timeout/20)
		synctest.Wait()
		c.sock.feed(data("y"))
		synctest.Wait()
		if handled != 2 || c.Err() != nil {
			t.Errorf("got %d bytes and %v, want 2 on an open connection", handled, c.Err())
		}
		idleCheck(t, c.Conn, time.Now(), timeout)
	})
	testkit.Bubble(t, "user", func(t *testing.T) {
		c := newFakeConn(t, Config{IdleTimeout: timeout}, newFakeGroup(t, 0))
		arrive(c)
		idleCheck(t, c.Conn, time.Now(), timeout)
	})
}
