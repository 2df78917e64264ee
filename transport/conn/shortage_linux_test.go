package conn_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestShortage runs a server out of descriptors in a process of its own.
func TestShortage(t *testing.T) {
	if os.Getenv(shortageEnv) != "" {
		runOutOfDescriptors(t)
		return
	}
	t.Parallel() // only the child runs short
	cmd, err := testsystem.Command(t.Context(), "-test.run=^TestShortage$", "-test.v", "-test.timeout=60s")
	testkit.Must(t, err)
	cmd.Env = append(os.Environ(), shortageEnv+"=1")
	out, err := cmd.StdoutPipe()
	testkit.Must(t, err)
	cmd.Stderr = os.Stderr
	testkit.Must(t, cmd.Start())
	// The clients live here: they need descriptors too.
	var clients []net.Conn
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	lines := bufio.NewScanner(out)
	var output []string
	for lines.Scan() {
		line := lines.Text()
		output = append(output, line)
		address, ok := strings.CutPrefix(line, "listening on ")
		if ok {
			clients = exhaust(t, address)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, strings.Join(output, "\n"))
	}
}

// exhaust opens more connections than the server can accept. It checks that the accepted ones are
// served meanwhile, closes them, and checks that the others are served then.
func exhaust(t *testing.T, address string) []net.Conn {
	var clients []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return clients
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		clients = append(clients, c)
	}
	// The kernel completes the handshakes in order: the first are accepted, the last are not.
	start := time.Now()
	for served := 0; time.Since(start) < 1600*time.Millisecond; served++ {
		if got, err := call(clients[served%8], "x"); got != "x" || err != nil {
			t.Errorf("an accepted connection during the shortage: got %q, %v", got, err)
			return clients
		}
		time.Sleep(10 * time.Millisecond) // a pace, not a wait for something
	}
	for _, c := range clients[:90] {
		c.Close()
	}
	start = time.Now()
	if got, err := call(clients[99], "x"); got != "x" || err != nil {
		t.Errorf("after the shortage: got %q, %v", got, err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("recovered after %v, want about a second", took)
	}
	if _, err := clients[99].Write(frame("end")); err != nil {
		t.Error(err)
	}
	return clients
}

// runOutOfDescriptors is the child's part.
func runOutOfDescriptors(t *testing.T) {
	limit := syscall.Rlimit{Cur: 48, Max: 48}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skip(err)
	}
	var told atomic.Int32
	ended := make(chan struct{})
	s := startServer(t, "tcp", conn.ServerConfig{
		Config: conn.Config{OnRequest: func(ctx context.Context, c *conn.Conn) error {
			if c.Reader().Len() == len(frame("end")) {
				close(ended)
			}
			return echoFrames(ctx, c)
		}},
		OnAcceptError: func(err error) {
			told.Add(1)
		},
	})
	start, cpu := time.Now(), cpuTime(t)
	fmt.Println("listening on " + s.address)
	testkit.Receive(t, "end", ended)
	took, used := time.Since(start), cpuTime(t)-cpu
	if n := told.Load(); n < 1 || n > int32(took/time.Second)+2 {
		t.Errorf("OnAcceptError was called %d times in %v, want about once per second", n, took)
	}
	if used > took/4 {
		t.Errorf("used %v of CPU time in %v: a busy loop", used, took)
	}
}

// cpuTime returns how much CPU time the process has used.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	testkit.Must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
