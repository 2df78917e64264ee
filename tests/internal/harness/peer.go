package harness

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
)

// Peer runs serve on each connection to a free port until the test ends. serve
// closes the connection, or leaves it open until then.
func Peer(t testing.TB, serve func(*net.TCPConn)) net.Addr {
	t.Helper()
	ln := Listen(t, "tcp")
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			tcp, ok := c.(*net.TCPConn)
			if !ok {
				t.Errorf("got a %T, want a *net.TCPConn", c)
				return
			}
			wg.Go(func() { serve(tcp) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr()
}

// Refused returns an address without a listener.
func Refused(t testing.TB) net.Addr {
	t.Helper()
	ln := Listen(t, "tcp")
	ln.Close()
	return ln.Addr()
}

// Unanswered returns an address at which a connection is neither accepted nor refused: its accept
// queue is full, and Linux then drops further connections.
func Unanswered(t testing.TB) net.Addr {
	t.Helper()
	ln := Listen(t, "tcp")
	t.Cleanup(func() { ln.Close() })
	ShortenBacklog(t, ln)
	FillBacklog(t, ln.Addr())
	return ln.Addr()
}

// FillBacklog makes connections to addr, which end with the test, until the listener's accept queue
// is full. The queue must be short, see ShortenBacklog, and no connection may be accepted
// meanwhile.
func FillBacklog(t testing.TB, addr net.Addr) {
	t.Helper()
	const attempts = 16
	for range attempts {
		c, err := net.DialTimeout("tcp", addr.String(), 100*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skipf("%d connections were queued in spite of a backlog of 0", attempts)
}

// Dial connects to addr; the connection ends with the test.
func Dial(t testing.TB, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// Reset closes c so that its peer gets a RST.
func Reset(t testing.TB, c net.Conn) {
	t.Helper()
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		if err := l.SetLinger(0); err != nil {
			t.Error(err)
		}
	}
	c.Close()
}

// EchoFrame returns a call of Echo as a frame: what a client sends over Framed.
func EchoFrame(t testing.TB, text string) []byte {
	t.Helper()
	args := &echo.EchoServiceEchoArgs{Request: &echo.EchoRequest{Message: leafMessage(text)}}
	payload, err := thrift.MarshalFastMsg("Echo", thrift.CALL, 1, args)
	if err != nil {
		t.Fatal(err)
	}
	size := len(payload)
	frame := []byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	return append(frame, payload...)
}

// ReadFrame reads one frame from c and drops it.
func ReadFrame(c net.Conn) error {
	var header [4]byte
	if _, err := io.ReadFull(c, header[:]); err != nil {
		return err
	}
	_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(header[:])))
	return err
}
