package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// allowed is how many bytes a server may take for a hostile message besides the bytes that it was
// sent, including its connection and Kitex's log lines.
const allowed = 64 << 10

// TestRole plays the server that another test attacks.
func TestRole(t *testing.T) {
	harness.Play(t, map[string]func(*testing.T, *harness.Role){"server": playServer})
}

// playServer serves with little memory; its argument names the reader of its messages. The
// collector runs only between messages, so that the contents of pools are there for the next one.
func playServer(t *testing.T, r *harness.Role) {
	limitMemory(t)
	debug.SetGCPercent(-1)
	s := harness.Start(t, harness.ServerConfig{
		New: newServer(t, r.Arguments[0]), Options: []server.Option{server.WithReadWriteTimeout(readTimeout)},
	})
	r.Say("%s", s.Addr)
	for words := r.Heard(); words != nil; words = r.Heard() {
		switch words[0] {
		case "allocated":
			r.Say("%d", allocated())
		case "live":
			r.Say("%d", harness.LiveHeap())
		}
	}
}

// collectAbove is how much may be allocated between two collections: well below what limitMemory
// allows.
const collectAbove = 64 << 20

// allocated returns how many bytes this process has taken from its heap so far. It collects garbage
// first if there is much.
func allocated() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[1].Value.Uint64() > collectAbove {
		runtime.GC()
		metrics.Read(sample)
	}
	return int64(sample[0].Value.Uint64())
}

// victim is a server in a process of its own, and a client that calls it.
type victim struct {
	*harness.Child
	addr net.Addr
	call func() error
}

func newVictim(t *testing.T, reads string) *victim {
	t.Helper()
	v := &victim{Child: harness.StartChild(t, nil, "server", reads)}
	addr, err := net.ResolveTCPAddr("tcp", v.Hear(testkit.Patience))
	if err != nil {
		t.Fatal(err)
	}
	v.addr = addr
	cli := harness.EchoClient(t, harness.Kiteline, addr, client.WithRPCTimeout(testkit.Patience))
	v.call = func() error { return callBriefly(cli) }
	if err := v.call(); err != nil {
		t.Fatal(err)
	}
	return v
}

// attack sends bytes, which must be answered with an exception or with the end of the connection.
// Then a valid call must be answered. many says that the connection may go on.
func (v *victim) attack(t *testing.T, sent []byte, many bool) (answer []byte) {
	t.Helper()
	v.attackAtMost(t, sent, func() {
		var err error
		if answer, err = exchange(v.addr, sent, many); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(answer, []byte{0x80, 1, 0, reply}) {
			t.Errorf("answered with a reply: %q", answer)
		}
	})
	if err := v.call(); err != nil {
		t.Fatalf("the next good call: %v", err)
	}
	return answer
}

// attackAtMost fails the test if the server takes more than it may each time that f sends it the
// message. Memory that the process takes only once, such as the first memory of its pools, or for
// other goroutines does not count for the message: the least of several attempts counts.
func (v *victim) attackAtMost(t *testing.T, sent []byte, f func()) {
	t.Helper()
	const attempts = 50
	bound := int64(allowed + 4*len(sent)) // frames, and the buffers in which they came
	least := int64(math.MaxInt64)
	for range attempts {
		before := v.AskNumber("allocated")
		f()
		if least = min(least, v.AskNumber("allocated")-before); least <= bound || testkit.Race || t.Failed() {
			return
		}
	}
	t.Errorf("took %d bytes, want at most %d", least, bound)
}

// exchange sends bytes and returns what came back until the server closed the connection, or, if
// the connection may go on, until some bytes came.
func exchange(addr net.Addr, sent []byte, many bool) ([]byte, error) {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		return nil, err
	}
	_, _ = c.Write(sent) // fails if the server has closed
	var answer []byte
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		answer = append(answer, buf[:n]...)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, fmt.Errorf("the server neither answers nor closes; got %q", answer)
		case err != nil || many && n > 0:
			return answer, nil
		}
	}
}
