package lifecycle

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// stack is the transport of callers and of a service.
type stack struct{ client, server harness.Transport }

var stockStack = stack{harness.Netpoll, harness.Netpoll}

const ourClient, ourServer = harness.KitelineMux, harness.Kiteline

// switches are the ways from stack to stack, each in a process of its own. The control goes from a
// stock stack to the same, and for a client makes two stops more than ours: whether a stop costs
// one call or two is chance.
var switches = map[string][]stack{
	"ours":    {stockStack, {stockStack.client, ourServer}, {ourClient, ourServer}, {ourClient, stockStack.server}, stockStack},
	"control": {stockStack, stockStack, stockStack, stockStack},
}

// TestRole plays the roles of processes that other tests start.
func TestRole(t *testing.T) {
	harness.Play(t, map[string]func(*testing.T, *harness.Role){"switch": playSwitch, "unix server": serveUnix})
}

// playSwitch goes one of the ways and reports the result.
func playSwitch(t *testing.T, r *harness.Role) {
	went := switchStacks(t, switches[r.Arguments[0]]...)
	for words := r.Heard(); words != nil; words = r.Heard() {
		switch words[0] {
		case "calls":
			r.Say("%q", went.calls)
		case "kept":
			r.Say("%d", went.kept)
		case "lost":
			var at stack
			if _, err := fmt.Sscan(words[1]+" "+words[2], &at.client, &at.server); err != nil {
				t.Fatal(err)
			}
			r.Say("%d", went.lost[at])
		}
	}
}

// losses are the calls that failed, by the client's transport and the transport of the server that
// was stopped last.
type losses map[stack]int

// stopGrace is the wall-clock time in which clients can learn of a server's stop (Kitex's
// netpoll/trans_server.go, Shutdown; package transport's shutdownGrace). If the machine keeps the
// process from running for that long, a call with a stock peer may come too late.
const stopGrace = 100 * time.Millisecond

// switching is the result of going from stack to stack.
type switching struct {
	calls string // a summary of the calls
	lost  losses
	kept  time.Duration // the longest time a stop was kept from running
}

// switchStacks moves two servers and two clients from stack to stack under load, the servers first,
// one by one.
func switchStacks(t *testing.T, stacks ...stack) switching {
	t.Helper()
	// Both processes can bear this much under the race detector beside other work.
	const rate = 500 / testkit.Slowdown
	// Stock clients may wait forever for what netpoll has closed.
	const timeout = time.Second * min(testkit.Slowdown, 5)
	var (
		attempts  atomic.Int64
		clients   [2]atomic.Pointer[echoservice.Client]
		on        [2]atomic.Int64 // the clients' transports
		stopped   atomic.Int64    // the transport of the server that was stopped last
		kept      time.Duration
		mu        sync.Mutex
		lost      = make(losses)
		instances = []*instance{startInstance(t, stacks[0].server, 0), startInstance(t, stacks[0].server, 0)}
	)
	setClient := func(i int, tr harness.Transport) {
		cli := newBalanced(t, tr, &attempts, instances, announced(), client.WithRPCTimeout(timeout))
		on[i].Store(int64(tr))
		clients[i].Store(&cli)
	}
	for i := range clients {
		setClient(i, stacks[0].client)
	}
	stopped.Store(int64(stacks[0].server))
	load := harness.StartLoad(t, rate, func(n int) error {
		at := stack{harness.Transport(on[half(n)].Load()), harness.Transport(stopped.Load())}
		err := callDelayed(*clients[half(n)].Load(), n)
		if err == nil {
			return nil
		}
		if !errors.Is(err, kerrors.ErrRPCTimeout) { // it has just failed
			at.server = harness.Transport(stopped.Load())
		}
		mu.Lock()
		lost[at]++
		mu.Unlock()
		return fmt.Errorf("%v client, after a %v server was stopped: %w", at.client, at.server, err)
	})
	// goOn waits until both clients use both servers: one that was away is dialed again only after
	// a while.
	goOn := func() {
		t.Helper()
		seen := load.Ended()
		testkit.Eventually(t, "calls go on", func() bool {
			return load.Ended() > seen+rate/10 && instances[0].isUsed(1) && instances[1].isUsed(1)
		})
	}
	for n, next := range stacks[1:] {
		for i := range instances {
			goOn()
			stopped.Store(int64(stacks[n].server))
			watch := harness.StartStopwatch()
			instances[i].restart(next.server)
			kept = max(kept, watch.Kept())
		}
		for i := range clients {
			goOn()
			setClient(i, next.client)
		}
	}
	goOn()
	calls, _ := load.Stop()
	went := switching{fmt.Sprintf("%v\n%d tries more than calls", load, attempts.Load()-int64(calls)), lost, kept}
	t.Logf("%s\nkept from running for %v during a stop", went.calls, kept)
	return went
}

// The suites are put in and taken out again while calls go on. No call is lost except those that a
// stock server loses when it is stopped, and there are no more of those than without us.
func TestSwitchStacksUnderLoad(t *testing.T) {
	// Each has a process of its own, where only the load takes its time, so all can run at once.
	child, control := harness.StartChild(t, nil, "switch", "ours"), harness.StartChild(t, nil, "switch", "control")
	beside(t)
	kept := time.Duration(child.AskNumber("kept"))
	ofControl := control.AskNumber("lost %d %d", stockStack.client, stockStack.server)
	for _, at := range []stack{stockStack, {stockStack.client, ourServer}, {ourClient, ourServer}, {ourClient, stockStack.server}} {
		most := int64(0)
		if at.server == stockStack.server {
			most = ofControl
		}
		n := child.AskNumber("lost %d %d", at.client, at.server)
		if n <= most {
			continue
		}
		if (at.client == stockStack.client || at.server == stockStack.server) && kept > stopGrace {
			t.Logf("%d failed calls of a %v client after a %v server was stopped: the machine was too busy to tell", n, at.client, at.server)
			continue
		}
		t.Errorf("%d failed calls of a %v client after a %v server was stopped, want %d at most: %s, kept from running for %v",
			n, at.client, at.server, most, child.Ask("calls"), kept)
	}
}

// The same with stock clients and servers that multiplex. They lose dozens of calls at each stop
// (netpollmux/mux_conn.go, OnRequest), or hang; so only the losses of our clients count.
func TestSwitchMuxStacksUnderLoad(t *testing.T) {
	if !testkit.Long || testkit.Race {
		t.Skip("it takes 10 s, and Kitex's client reconnects with a data race (netpollmux/mux_pool.go, put and get)")
	}
	stock := stack{harness.NetpollMux, harness.NetpollMux}
	control := switchStacks(t, stock, stock, stock).lost[stock]
	ours := switchStacks(t, stock, stack{ourClient, ourServer}, stack{ourClient, stock.server}, stock).lost
	if n := ours[stack{ourClient, ourServer}]; n > 0 {
		t.Errorf("%d failed calls of our client after our server was stopped, want 0", n)
	}
	if n := ours[stack{ourClient, stock.server}]; n > control {
		t.Errorf("%d failed calls of our client after a stock server was stopped, want %d at most", n, control)
	}
}
