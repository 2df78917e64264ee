package hardening

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

const descriptorLimit = 64

// A server that is out of descriptors serves the clients that it has, logs little, wastes no
// processor time, and accepts again soon after it can.
func TestDescriptorExhaustion(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at /proc")
	}
	alone(t)
	server, addr := startServer(t, fmt.Sprintf("descriptors=%d", descriptorLimit))
	frame := harness.EchoFrame(t, "hello")
	var slowest, recovery time.Duration
	var calls int
	began, cpu := time.Now(), server.CPU()
	rounds := testkit.Scale(1, 8)
	for round := range rounds {
		r := exhaustion{t: t, addr: addr, frame: frame}
		r.dial(testkit.Scale(150, 1000))
		// The server tries again at longer and longer intervals: the shortage ends at another point
		// of an interval each time.
		r.serve(1300*time.Millisecond + time.Duration(round)*170*time.Millisecond)
		recovery = max(recovery, r.recover())
		slowest = max(slowest, r.slowest)
		calls += r.calls
		r.end()
		testkit.Eventually(t, "the connections are over", func() bool { return server.AskNumber("open") == 0 })
	}
	took, used := time.Since(began), server.CPU()-cpu
	lines := server.AskNumber("logged accept")
	promise.Check(t, "descriptors: log lines while there are none", "<= 1/s, and at least one",
		fmt.Sprintf("%d in %v", lines, took.Round(time.Millisecond)), lines >= 1 && lines <= int64(took/time.Second)+1)
	promise.Check(t, "descriptors: processor while there are none", "<= 10 % of a core",
		fmt.Sprintf("%.1f %%", 100*used.Seconds()/took.Seconds()), used <= took/10*testkit.Slowdown)
	promise.Check(t, "descriptors: calls on open connections", "all answered", fmt.Sprintf("%d, the slowest in %v", calls, slowest), calls > 0)
	checkTime(t, fmt.Sprintf("descriptors: accepting again, the slowest of %d times", rounds), recovery, time.Second)
}

// exhaustion is one time that a server has more clients than descriptors.
type exhaustion struct {
	t       *testing.T
	addr    net.Addr
	frame   []byte
	clients []net.Conn
	calls   int
	slowest time.Duration
}

// dial opens n connections. The kernel completes them all; the server accepts the first ones.
func (e *exhaustion) dial(n int) {
	e.t.Helper()
	for range n {
		e.clients = append(e.clients, harness.Dial(e.t, e.addr))
	}
}

// serve makes calls for d on connections that were accepted, at a pace that costs the server next
// to nothing.
func (e *exhaustion) serve(d time.Duration) {
	e.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-ticker.C {
		began := time.Now()
		e.call(e.clients[e.calls%8])
		e.calls++
		e.slowest = max(e.slowest, time.Since(began))
	}
}

func (e *exhaustion) call(c net.Conn) {
	e.t.Helper()
	if err := c.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		e.t.Fatal(err)
	}
	if _, err := c.Write(e.frame); err != nil {
		e.t.Fatalf("a call: %v", err)
	}
	if err := harness.ReadFrame(c); err != nil {
		e.t.Fatalf("a call: %v", err)
	}
}

// recover closes all connections except the last, which was not accepted, and returns the time
// until that one is served.
func (e *exhaustion) recover() time.Duration {
	e.t.Helper()
	last := len(e.clients) - 1
	began := time.Now()
	for _, c := range e.clients[:last] {
		c.Close()
	}
	e.call(e.clients[last])
	return time.Since(began)
}

func (e *exhaustion) end() { e.clients[len(e.clients)-1].Close() }
