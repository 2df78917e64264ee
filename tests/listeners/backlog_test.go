package listeners

import (
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/conn"
)

// queues are listeners whose accept queue can be taken over when a server stops.
var queues = []struct {
	name, network string
	listen        func(t testing.TB, network, address string) (net.Listener, error)
}{
	{"TCP", "tcp", func(_ testing.TB, network, address string) (net.Listener, error) { return net.Listen(network, address) }},
	{"Unix", "unix", func(t testing.TB, _, address string) (net.Listener, error) {
		return conn.ListenUnix(t.Context(), new(net.ListenConfig), address)
	}},
	{"Unix of package net", "unix", func(_ testing.TB, network, address string) (net.Listener, error) { return net.Listen(network, address) }},
	{"TCP of netpoll", "tcp", createListener},
	{"Unix of netpoll", "unix", createListener},
}

func createListener(_ testing.TB, network, address string) (net.Listener, error) {
	return netpoll.CreateListener(network, address)
}

// TestBacklogIsServed: requests on connections that the kernel has made, and that the server had no
// time to accept, are answered when it stops. It runs one test at a time: netpoll closes a
// listener's number twice.
func TestBacklogIsServed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what is in a backlog cannot be told here")
	}
	for _, w := range ways {
		if w.drops || strings.HasSuffix(w.name, shared) {
			continue
		}
		for _, q := range queues {
			t.Run(w.name+"/"+q.name, func(t *testing.T) {
				address := "127.0.0.1:0"
				if q.network == "unix" {
					address = filepath.Join(t.TempDir(), "s")
				}
				ln, err := q.listen(t, q.network, address)
				if err != nil {
					t.Fatal(err)
				}
				testBacklog(t, w, place{ln: ln, addr: ln.Addr()})
			})
		}
	}
}

func testBacklog(t *testing.T, w way, at place) {
	const waiting = 20
	accepted, resume := make(chan struct{}, 2*waiting), make(chan struct{})
	close(resume)
	var mu sync.Mutex
	s := w.start(t, setup{places: []place{at}, gate: newGate(t), exit: time.Hour, onOpen: func() {
		mu.Lock()
		goesOn := resume
		mu.Unlock()
		accepted <- struct{}{}
		<-goesOn
	}})
	testkit.Receive(t, "the connection that a server is started with", accepted)
	held := make(chan struct{})
	mu.Lock()
	resume = held // new connections hold up the only acceptor
	mu.Unlock()
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release) // before the server's
	clients := []net.Conn{harness.Dial(t, at.addr)}
	testkit.Receive(t, "the first connection", accepted)
	for range waiting {
		clients = append(clients, harness.Dial(t, at.addr))
	}
	for _, c := range clients {
		s.send(t, c)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	testkit.Receive(t, "a connection of the backlog", accepted) // by the code that stops the server
	release()
	for i, c := range clients {
		if err := s.receive(c); err != nil {
			t.Errorf("connection %d: got %v, want an answer", i, err)
		}
	}
	if err := testkit.Receive(t, "the stop", stopped); err != nil {
		t.Error(err)
	}
	for i, c := range clients {
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("connection %d after the stop: got %d bytes and %v, want the end", i, n, err)
		}
	}
	if harness.CanDial(at.addr) {
		t.Error("something listens after the stop")
	}
}
