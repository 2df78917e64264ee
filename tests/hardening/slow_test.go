package hardening

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
)

// smallMemory is what a server may use besides what the limits bound: the peers' connections, and
// what the runtime and Kitex keep.
const smallMemory = 8 << 20

// attack is what faulty or hostile clients do to a server, and what it may cost.
type attack struct {
	name   string
	server []string // the server's arguments
	start  func(t *testing.T, addr net.Addr) (stop func())
	lasts  time.Duration
	memory int64 // bound on the server's live memory while it lasts, beyond what it had
}

// run measures a bystander without the attack and under it, and then the server's memory for as
// long as the attack lasts.
func (a attack) run(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at /proc")
	}
	alone(t)
	server, addr := startServer(t, a.server...)
	b := newBystander(t, addr)
	baseline := b.p99()
	before := server.AskNumber("heap")
	began := time.Now()
	stop := a.start(t, addr)
	attacked := b.p99()
	peak := server.AskNumber("heap")
	for time.Since(began) < a.lasts {
		if err := b.call(); err != nil {
			t.Fatalf("a bystander's call: %v", err)
		}
		peak = max(peak, server.AskNumber("heap"))
		<-time.After(200 * time.Millisecond)
	}
	stop()
	if err := b.call(); err != nil {
		t.Errorf("a bystander's call after the attack: %v", err)
	}
	testkit.Eventually(t, "the attackers' connections are over", func() bool { return server.AskNumber("open") == 1 })
	checkP99(t, a.name, baseline, attacked)
	checkMemory(t, a.name, before, peak, a.memory)
}

// closers closes connections, once.
func closers(all []net.Conn) func() {
	return func() {
		for _, c := range all {
			c.Close()
		}
	}
}

// Clients that read a kilobyte a second of large replies keep their reply in memory, and delay no
// other client.
func TestSlowReaders(t *testing.T) {
	// The reply is in a block of the pools, whose sizes are powers of two.
	const clients, bytes, block = 10, 6 << 20, 8 << 20
	attack{
		name: "readers at 1 KiB/s", server: []string{"timeout-ms=60000"}, lasts: testkit.Scale(time.Second, 15*time.Second), memory: clients*(bytes+block) + smallMemory,
		start: func(t *testing.T, addr net.Addr) func() {
			frame := harness.EchoFrame(t, string(make([]byte, bytes)))
			stop := make(chan struct{})
			var readers sync.WaitGroup
			var open []net.Conn
			for range clients {
				c := dialNarrow(t, addr)
				open = append(open, c)
				if _, err := c.Write(frame); err != nil {
					t.Fatal(err)
				}
				readers.Go(func() { trickle(c, stop) })
			}
			return func() {
				close(stop)
				readers.Wait()
				closers(open)()
			}
		},
	}.run(t)
}

// dialNarrow connects with the smallest receive buffer possible.
func dialNarrow(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { setReceiveBuffer(int(fd), 4<<10) })
	}}
	c, err := d.DialContext(t.Context(), addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// trickle reads a kilobyte a second.
func trickle(c net.Conn, stop <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if _, err := io.CopyN(io.Discard, c, 1<<10); err != nil {
			return
		}
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

// A reader so slow that it does not take 256 KiB within the write timeout loses its connection.
func TestSlowReaderIsCutOff(t *testing.T) {
	const timeout = 500 * time.Millisecond
	promise.Among(t)
	server, addr := startServer(t, fmt.Sprintf("timeout-ms=%d", timeout/time.Millisecond))
	c := dialNarrow(t, addr)
	if _, err := c.Write(harness.EchoFrame(t, string(make([]byte, 6<<20)))); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() { trickle(c, stop) })
	testkit.Eventually(t, "the connection is cut off", func() bool { return server.AskNumber("ended") == 2 })
	took := time.Since(began)
	close(stop)
	reader.Wait()
	checkTime(t, "reader at 1 KiB/s: cut off after the write timeout of 500ms", took, timeout+500*time.Millisecond)
}

// TCP holds back clients that send without end to slow handlers. On one connection requests are
// handled one by one, on the other as many at a time as a server allows.
func TestFastSenders(t *testing.T) {
	const payload = 4 << 10
	framed := [][]byte{delayedFrame(t, 100, payload)}
	var multi [][]byte
	// Different delays, so that the calls do not all end at the same time.
	for delayMillis := testkit.Scale(500, 1500); delayMillis < testkit.Scale(1200, 2900); delayMillis += 10 {
		multi = append(multi, multiplexed(delayedFrame(t, int32(delayMillis), payload)))
	}
	const handlers = 1024 // muxserver.Config.MaxHandlersPerConn
	attack{
		name: "senders faster than their handlers", lasts: testkit.Scale(2*time.Second, 60*time.Second),
		memory: (1+handlers)*4*payload + smallMemory,
		start: func(t *testing.T, addr net.Addr) func() {
			one, other := flood(t, addr, framed), flood(t, addr, multi)
			return func() { one(); other() }
		},
	}.run(t)
}

// flood sends frames over and over, and drops what is answered, until it is stopped.
func flood(t *testing.T, addr net.Addr, frames [][]byte) (stop func()) {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		for n := 0; ; n++ {
			if _, err := c.Write(frames[n%len(frames)]); err != nil {
				return
			}
		}
	})
	answered := 0
	both.Go(func() {
		for ; harness.ReadFrame(c) == nil; answered++ {
		}
	})
	return func() {
		c.Close()
		both.Wait()
		if answered == 0 {
			t.Error("none of the sender's requests was answered")
		}
	}
}

// delayedFrame is a call of Echo that takes the server a while.
func delayedFrame(t testing.TB, delayMillis int32, payload int) []byte {
	t.Helper()
	message := echo.NewMessage()
	message.Text = string(make([]byte, payload))
	args := &echo.EchoServiceEchoArgs{Request: &echo.EchoRequest{Message: message, DelayMillis: delayMillis}}
	body, err := thrift.MarshalFastMsg("Echo", thrift.CALL, 1, args)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// multiplexed makes a TTHeader frame of a framed call, with the flag that makes its server answer
// out of order.
func multiplexed(framed []byte) []byte {
	const headerBytes = 14 // after the length, in the shortest header
	b := binary.BigEndian.AppendUint32(nil, uint32(headerBytes+len(framed)-4))
	b = append(b, 0x10, 0x00, 0x00, 0x01, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0)
	return append(b, framed[4:]...)
}

// A header that announces 2 GiB gets memory for what comes, not for what it announces.
func TestHugeAnnouncement(t *testing.T) {
	const clients, sent = 100, 64 << 10
	framed, ttheader := harness.EchoFrame(t, "huge")[:40], multiplexed(harness.EchoFrame(t, "huge"))[:40]
	attack{
		name: "200 headers that announce 2 GiB", lasts: testkit.Scale(300*time.Millisecond, time.Second),
		memory: 2*clients<<20 + smallMemory, // buffer: at most 1 MiB because of a length
		start: func(t *testing.T, addr net.Addr) func() {
			var open []net.Conn
			for _, header := range [][]byte{framed, ttheader} {
				message := append(append([]byte("\x7f\xff\xff\xf0"), header[4:]...), make([]byte, sent)...)
				for range clients {
					c := harness.Dial(t, addr)
					open = append(open, c)
					_, _ = c.Write(message) // the server may rightly close at once
				}
			}
			return closers(open)
		},
	}.run(t)
}

// Half a frame holds a goroutine at most until the read timeout, and then its connection ends.
func TestHalfSentFrames(t *testing.T) {
	clients, timeout := testkit.Scale(500, 10_000), testkit.Scale(500*time.Millisecond, 15*time.Second)
	alone(t)
	server, addr := startServer(t, fmt.Sprintf("timeout-ms=%d", timeout/time.Millisecond))
	b := newBystander(t, addr)
	baseline := b.p99()
	before, goroutines := server.AskNumber("heap"), server.AskNumber("goroutines")
	frame := harness.EchoFrame(t, "half of a frame, and no more")
	var mu sync.Mutex
	var slowest time.Duration
	early := 0
	var waiting sync.WaitGroup
	for range clients {
		c := dialPatiently(t, addr)
		began := time.Now()
		if _, err := c.Write(frame[:len(frame)/2]); err != nil {
			t.Fatal(err)
		}
		waiting.Go(func() {
			defer c.Close()
			_, _ = io.Copy(io.Discard, c) // until the connection ends, whatever comes before
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			slowest = max(slowest, took)
			if took < timeout {
				early++
			}
		})
	}
	attacked := b.p99()
	peak := server.AskNumber("heap")
	waiting.Wait()
	if early > 0 {
		t.Errorf("%d of %d connections ended before the timeout", early, clients)
	}
	checkTime(t, fmt.Sprintf("%d half-sent frames: closed after a timeout of %v", clients, timeout), slowest, timeout+timeout/10+500*time.Millisecond)
	// A goroutine's stack, a block for what has come, and Kitex's state for a request.
	checkMemory(t, fmt.Sprintf("%d half-sent frames", clients), before, peak, int64(clients)*(32<<10)+smallMemory)
	testkit.Eventually(t, "no goroutine is left", func() bool { return server.AskNumber("goroutines") <= goroutines+workersKept })
	checkP99(t, fmt.Sprintf("%d half-sent frames", clients), baseline, attacked)
}

// workersKept is how many idle workers a group keeps, with a small margin.
const workersKept = 16

// dialPatiently connects without a deadline, because many connections are to come.
func dialPatiently(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(context.Background(), addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
