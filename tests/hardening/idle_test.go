package hardening

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// idleConn is a connection that was used once.
type idleConn struct {
	c              net.Conn
	asked, replied time.Time // the server used it last between these times
	closed         time.Time
}

// Thousands of connections cost nothing while they are idle, and are closed when their time is
// over: not earlier, and not much later.
func TestIdleTimeout(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at /proc")
	}
	connections, timeout := testkit.Scale(500, 16_000), testkit.Scale(1500*time.Millisecond, 20*time.Second)
	alone(t)
	server, addr := startServer(t, fmt.Sprintf("idle-ms=%d", timeout/time.Millisecond))
	frame := harness.EchoFrame(t, "used once")
	all := make([]idleConn, connections)
	var waiting sync.WaitGroup
	for n := range all {
		i := &all[n]
		i.c = dialPatiently(t, addr)
		i.use(t, frame)
		waiting.Go(func() {
			defer i.c.Close()
			if n, err := io.Copy(io.Discard, i.c); n != 0 || err != nil {
				t.Errorf("an idle connection got %d bytes and %v, want the end", n, err)
			}
			i.closed = time.Now()
		})
	}
	// The oldest ends first: until then the test only waits.
	began, cpu := time.Now(), server.CPU()
	<-time.After(time.Until(all[0].asked.Add(timeout - timeout/20)))
	quiet, idle := time.Since(began), server.CPU()-cpu
	waiting.Wait()
	took, used := time.Since(began), server.CPU()-cpu
	earliest, latest := timeout*1000, time.Duration(0)
	for n := range all {
		earliest = min(earliest, all[n].closed.Sub(all[n].asked))
		latest = max(latest, all[n].closed.Sub(all[n].replied))
	}
	name := fmt.Sprintf("%d idle connections", connections)
	promise.Check(t, name+": closed", fmt.Sprintf("in [%v, %v]", timeout, timeout+timeout/10),
		fmt.Sprintf("in [%v, %v]", earliest.Round(time.Millisecond), latest.Round(time.Millisecond)),
		earliest >= timeout && latest <= (timeout+timeout/10)*testkit.Slowdown+busy)
	if testkit.Long {
		promise.Check(t, name+": processor while they are", "<= 1 % of a core",
			fmt.Sprintf("%.2f %% (%.2f %% with what it takes to close them)", 100*idle.Seconds()/quiet.Seconds(), 100*used.Seconds()/took.Seconds()),
			idle <= quiet/100*testkit.Slowdown)
	}
	testkit.Eventually(t, "no connection is left", func() bool { return server.AskNumber("open") == 0 })
}

func (i *idleConn) use(t *testing.T, frame []byte) {
	t.Helper()
	i.asked = time.Now()
	if _, err := i.c.Write(frame); err != nil {
		t.Fatal(err)
	}
	if err := harness.ReadFrame(i.c); err != nil {
		t.Fatal(err)
	}
	i.replied = time.Now()
}
