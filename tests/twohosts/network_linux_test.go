package twohosts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// slack is how much later than documented a test on a busy machine may notice an event.
const slack = 500 * time.Millisecond

var kinds = []string{"pooled", "multiplexed"}

// forEachKind runs test with a client of each kind on hosts of its own.
func forEachKind(t *testing.T, newPair func(*testing.T) *hosts, test func(t *testing.T, h *hosts, kind string)) {
	t.Parallel()
	promise.Among(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newPair(t), kind)
		})
	}
}

// run lets calls go on for d.
func run(d time.Duration) { <-time.After(d) }

// awaitHealth waits until all calls are answered for longer than one may take to fail, and returns
// how long after began the last failed call was made.
func awaitHealth(t *testing.T, client *harness.Child, began time.Time) time.Duration {
	t.Helper()
	const calm = rpcTimeout + slack
	var r report
	for answered := ask(t, client).Answered; time.Since(began) < calm || r.SinceFailure < calm || r.Answered == answered; {
		if time.Since(began) > 2*testkit.Patience {
			t.Fatalf("calls fail after %v: %+v", time.Since(began), r)
		}
		run(20 * time.Millisecond)
		r = ask(t, client)
	}
	return max(0, time.Since(began)-r.SinceFailure)
}

// checkHealth records how long from now the last failing call is made.
func checkHealth(t *testing.T, name string, client *harness.Child, bound time.Duration) {
	t.Helper()
	recovered := awaitHealth(t, client, time.Now())
	promise.Check(t, name+": last failed call begun after", fmt.Sprintf("<= %v", bound),
		recovered.Round(time.Millisecond).String(), recovered <= (bound+slack)*testkit.Slowdown)
}

// checkFailures records that each call of a bad time ended in time, and in the right way.
func checkFailures(t *testing.T, name string, r report) {
	t.Helper()
	figure := fmt.Sprintf("%d calls, %d answered, %v, the slowest in %v", r.Calls, r.Answered, r.Kinds, r.Slowest.Round(time.Millisecond))
	held := r.Wrong == 0 && r.Calls > 0 && r.Slowest <= (rpcTimeout+slack)*testkit.Slowdown
	promise.Check(t, name+": calls", fmt.Sprintf("over within %v, failures typed", rpcTimeout), figure, held)
	if r.Wrong > 0 {
		t.Errorf("%d calls ended wrong, such as: %s", r.Wrong, r.Example)
	}
}

// A cut cable fails calls in time and with a type. When it is mended calls succeed at once, on the
// old connections or new ones.
func TestCableCut(t *testing.T) {
	forEachKind(t, newCabledHosts, func(t *testing.T, h *hosts, kind string) {
		name := "cable cut, " + kind
		server, client := h.startServer(), h.startClient(kind)
		awaitHealth(t, client, time.Now())
		client.Send("reset")
		h.cut()
		began := time.Now()
		run(1500 * time.Millisecond)
		cut := ask(t, client)
		checkFailures(t, name, cut)
		if cut.Failed == 0 {
			t.Errorf("no call failed")
		}
		// The server hears nothing: its connections end as idle ones. A multiplexing client is
		// asked to leave first, within a quarter more than the idle time, and then has that long
		// again.
		most := serverIdle + serverIdle/10
		if kind == "multiplexed" {
			most = 9*serverIdle/4 + serverIdle/10
			run(serverIdle)
		}
		testkit.Eventually(t, "the server's connections are over", func() bool { return server.AskNumber("open") == 0 })
		idle := time.Since(began)
		promise.Check(t, name+": server closes silent connections", fmt.Sprintf("<= %v", most),
			idle.Round(time.Millisecond).String(), idle <= (most+slack)*testkit.Slowdown)
		h.mend()
		checkHealth(t, name+", mended", client, connectTimeout+rpcTimeout)
	})
}

// A call of a multiplexed connection that may take a minute learns within two heartbeats that its
// server has gone silently.
func TestHeartbeatFindsCutCable(t *testing.T) {
	t.Parallel()
	promise.Among(t)
	h := newCabledHosts(t)
	h.startServer()
	client := h.startClient("multiplexed")
	client.Send("long")
	run(300 * time.Millisecond) // the call is in flight
	h.cut()
	began := time.Now()
	answer := client.Hear(4 * testkit.Patience)
	took := time.Since(began)
	var callTook time.Duration
	var silent bool
	if _, err := fmt.Sscanf(answer, "%d %t", &callTook, &silent); err != nil {
		t.Fatalf("a client answers %q: %v", answer, err)
	}
	promise.Check(t, "heartbeat: a call without a timeout learns of a silent peer", fmt.Sprintf("mux.ErrSilent within %v", 2*heartbeat),
		fmt.Sprintf("%v after %v", strings.SplitN(answer, " ", 3)[2], took.Round(time.Millisecond)),
		silent && took <= (2*heartbeat+slack)*testkit.Slowdown)
	h.mend()
}

// A host that loses its power sends no FIN. When it is back at the same address it knows nothing of
// the earlier connections, and calls succeed.
func TestPowerOff(t *testing.T) {
	forEachKind(t, newCabledHosts, func(t *testing.T, h *hosts, kind string) {
		name := "power off, " + kind
		server, client := h.startServer(), h.startClient(kind)
		awaitHealth(t, client, time.Now())
		client.Send("reset")
		h.cut()
		server.Kill() // its kernel's FINs are lost
		run(time.Second)
		off := ask(t, client)
		checkFailures(t, name, off)
		if off.Failed == 0 {
			t.Errorf("no call failed")
		}
		h.mend()
		h.startServer()
		checkHealth(t, name+", back", client, connectTimeout+rpcTimeout)
	})
}

// Clients notice at once that a server was killed if its host lives on.
func TestProcessKilled(t *testing.T) {
	forEachKind(t, newCabledHosts, func(t *testing.T, h *hosts, kind string) {
		name := "process killed, " + kind
		server, client := h.startServer(), h.startClient(kind)
		awaitHealth(t, client, time.Now())
		client.Send("reset")
		server.Kill()
		run(500 * time.Millisecond)
		checkFailures(t, name, ask(t, client))
		h.startServer()
		checkHealth(t, name+", back", client, 0)
	})
}

// A client whose host changes its address loses its connections silently.
func TestAddressChange(t *testing.T) {
	forEachKind(t, newCabledHosts, func(t *testing.T, h *hosts, kind string) {
		name := "address change, " + kind
		server, client := h.startServer(), h.startClient(kind)
		awaitHealth(t, client, time.Now())
		client.Send("reset")
		h.change()
		checkHealth(t, name, client, max(connectTimeout+rpcTimeout, 2*heartbeat))
		checkFailures(t, name, ask(t, client))
		run(serverIdle) // the server's ends of the old connections end as idle ones
		testkit.Eventually(t, "the old connections are over", func() bool { return server.AskNumber("open") <= 20 })
	})
}

// Existing connections silently lose all their packets, as when a load balancer has forgotten them,
// and new ones work: calls succeed again within two seconds, or twice their timeout. A multiplexing
// client needs no heartbeat for that.
func TestDeadFlows(t *testing.T) {
	for _, kind := range []string{"pooled", "multiplexed-without-heartbeat"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			promise.Among(t)
			h := newHosts(t)
			network := &relay{delay: time.Millisecond, jitter: time.Millisecond}
			h.connect(network)
			h.startServer()
			client := h.startClient(kind)
			awaitHealth(t, client, time.Now())
			client.Send("reset")
			network.loseFlows()
			checkHealth(t, "dead flows, "+kind, client, max(2*time.Second, 2*rpcTimeout))
			r := ask(t, client)
			checkFailures(t, "dead flows, "+kind, r)
			if r.Failed == 0 {
				t.Error("no call failed")
			}
		})
	}
}

// Packets that are late, lost, doubled and reordered make calls slow, and fail some in time; no
// answer is wrong.
func TestLossAndDelay(t *testing.T) {
	forEachKind(t, newHosts, func(t *testing.T, h *hosts, kind string) {
		network := &relay{delay: 10 * time.Millisecond, jitter: 10 * time.Millisecond, loss: 0.02, duplicate: 0.02}
		h.connect(network)
		h.startServer()
		client := h.startClient(kind)
		run(testkit.Scale(2*time.Second, 20*time.Second))
		r := ask(t, client)
		name := "loss and delay, " + kind
		checkFailures(t, name, r)
		promise.Check(t, name+": calls answered", "most", fmt.Sprintf("%d of %d; %d of %d packets lost", r.Answered, r.Calls,
			network.lost.Load(), network.carried.Load()), r.Answered > r.Calls/2)
	})
}
