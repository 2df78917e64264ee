package hardening

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// A client keeps its connections for longer than its server does. It calls when the server is about
// to close them, has just done so, or does so at that moment: no call on a shared connection fails
// for that reason.
//
// A pooled connection has no sign on the wire by which a server could announce that it is about to
// close. A request that crosses the FIN is lost, as with every other transport of Kitex's; the
// client cannot tell it from one that was handled. The calls here begin within 20 ms around that
// moment, so those within 20 µs of it are one in a thousand. Two may fail.
func TestStaleConnections(t *testing.T) {
	if !testkit.Long {
		t.Skip("what it looks for happens once in hundreds or thousands of calls: -tags long")
	}
	const timeout = 100 * time.Millisecond
	const clients, calls = 200, 10_000
	for _, transport := range []harness.Transport{harness.Kiteline, harness.KitelineMux} {
		t.Run(transport.String(), func(t *testing.T) {
			promise.Among(t)
			_, addr := startServer(t, fmt.Sprintf("idle-ms=%d", timeout/time.Millisecond))
			var failed, made atomic.Int64
			var callers sync.WaitGroup
			for range clients {
				cli := harness.EchoClient(t, transport, addr)
				callers.Go(func() {
					for range calls / clients {
						made.Add(1)
						if _, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{}}); err != nil {
							if failed.Add(1) <= 3 {
								t.Logf("a call: %v", err)
							}
						}
						// From a little before the server's time to a little after the latest time
						// at which it may close.
						<-time.After(timeout - timeout/20 + rand.N(timeout/5))
					}
				})
			}
			callers.Wait()
			name, figure := fmt.Sprintf("calls around a server's idle timeout, %v", transport), fmt.Sprintf("%d of %d fail", failed.Load(), made.Load())
			if transport == harness.Kiteline {
				promise.Check(t, name, fmt.Sprintf("<= %d fail", calls/500), figure, failed.Load() <= calls/500)
				promise.Aim(name, "0 fail", figure, failed.Load() == 0)
				return
			}
			promise.Check(t, name, "0 fail", figure, failed.Load() == 0)
		})
	}
}
