package peer

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRPCRunsOverItsTransport looks at the goroutines of the caller and of the handler while a call
// waits for its answer: a framework over another's transport would pass every other test.
func TestRPCRunsOverItsTransport(t *testing.T) {
	want := map[string]string{
		"kitex":               "cloudwego/netpoll.(*connection)",
		"kiteline":            "kiteline/transport/conn.(*Conn)",
		"kiteline-kitexcodec": "kiteline/transport/conn.(*Conn)",
		"kiteline-mux":        "kiteline/mux", // and mux/muxserver
		"gonet":               "kitex/pkg/remote/trans/gonet.",
		"netpollmux-1":        "kitex/pkg/remote/trans/netpollmux.",
		"netpollmux-2":        "kitex/pkg/remote/trans/netpollmux.",
		"kitex-grpc":          "kitex/pkg/remote/trans/nphttp2",
		"grpc-go":             "google.golang.org/grpc.",
	}
	for _, r := range RPCs() {
		t.Run(r.Name, func(t *testing.T) {
			if want[r.Name] == "" {
				t.Fatal("nobody says what it runs over")
			}
			stacks := make(chan string, 1)
			addr := start(t, r, func() {
				buf := make([]byte, 8<<20)
				stacks <- string(buf[:runtime.Stack(buf, true)])
			})
			if err := dial(t, r, addr, 0).Caller(64)(background); err != nil {
				t.Fatal(err)
			}
			seen := map[string]string{"client": "peer.client.Caller", "server": "peer.TestRPCRunsOverItsTransport.func1.1("}
			for stack := range strings.SplitSeq(<-stacks, "\n\n") {
				for side, frame := range seen {
					if !strings.Contains(stack, frame) {
						continue
					}
					delete(seen, side)
					if !strings.Contains(stack, want[r.Name]) {
						t.Errorf("%s without %s:\n%s", side, want[r.Name], stack)
					}
				}
			}
			if len(seen) > 0 {
				t.Errorf("no goroutine of %v", seen)
			}
		})
	}
}

// TestRPCConnections counts connections while all callers wait in the handler, twice: the second
// time no client may dial. Kitex's gRPC sometimes dials one more until it has them all.
func TestRPCConnections(t *testing.T) {
	want := map[string]int64{
		"kitex": callers, "kiteline": callers, "kiteline-kitexcodec": callers, "kiteline-mux": 2, "gonet": callers,
		"netpollmux-1": 1, "netpollmux-2": 2, "grpc-go": 1,
		"kitex-grpc": int64(runtime.GOMAXPROCS(0) * 3 / 2),
	}
	for _, r := range RPCs() {
		t.Run(r.Name, func(t *testing.T) {
			least := want[r.Name]
			// These open more connections as calls need them.
			if r.Name == "kitex-grpc" || r.Name == "kiteline-mux" {
				least = 1
			}
			all := newMeeting(2)
			addr, connections := countConnections(t, start(t, r, all.wait))
			c := dial(t, r, addr, 0)
			connect(t, c)
			all.begun.Store(true)
			for round := range 2 {
				calls := func(int) error { return c.Caller(64)(background) }
				if err := together(callers, calls); err != nil {
					t.Fatal(err)
				}
				if got := connections.Load(); got < least || got > want[r.Name] {
					t.Errorf("round %d: %d connections, want %d to %d", round, got, least, want[r.Name])
				}
			}
			if n := all.missed.Load(); n > 0 {
				t.Errorf("%d calls waited for the others in vain", n)
			}
		})
	}
}

// meeting lets as many calls go on as there are callers, once all have come. Until the meeting has
// begun it lets every call go on.
type meeting struct {
	begun           atomic.Bool
	arrived, missed atomic.Int64
	complete        []chan struct{} // one for each round
}

func newMeeting(rounds int) *meeting {
	m := &meeting{}
	for range rounds {
		m.complete = append(m.complete, make(chan struct{}))
	}
	return m
}

func (m *meeting) wait() {
	if !m.begun.Load() {
		return
	}
	n := m.arrived.Add(1)
	complete := m.complete[(n-1)/callers]
	if n%callers == 0 {
		close(complete)
	}
	select {
	case <-complete:
	case <-time.After(patience):
		m.missed.Add(1)
	}
}

// countConnections returns the address of a relay to addr, and the number of connections that it
// has passed on.
func countConnections(t *testing.T, addr string) (string, *atomic.Int64) {
	ln := listen(t)
	t.Cleanup(func() { ln.Close() })
	var n atomic.Int64
	go func() {
		for {
			from, err := ln.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			go relay(from, addr)
		}
	}()
	return ln.Addr().String(), &n
}

// relay passes bytes on in both directions until either side ends.
func relay(from net.Conn, addr string) {
	defer from.Close()
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(from, to)
		from.Close()
	}()
	_, _ = io.Copy(to, from)
}
