package sharing

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

const (
	halfFrame   = 15 << 20               // the frame's whole length, about
	readTimeout = 300 * time.Millisecond // the server's
	trickle     = 20 * time.Millisecond  // between bytes of a trickled frame
)

// A frame that does not go on gets the read timeout and no more, on a shared connection as on one
// with a call at a time: a frame that stops half-way, and one of which a byte comes now and then.
func TestUnfinishedFrames(t *testing.T) {
	for _, k := range kinds() {
		frame := recordRequest(t, k, make([]byte, halfFrame))
		for _, tc := range []struct {
			name string
			sent int // bytes, before it stops or trickles
			then time.Duration
		}{
			{"silent half", len(frame) / 2, 0},
			{"trickled", 64, trickle},
			{"trickled half", len(frame) / 2, trickle},
		} {
			t.Run(fmt.Sprintf("%v/%s", k, tc.name), func(t *testing.T) {
				t.Parallel()
				s := startAt(t, newGate(), nil, server.WithReadWriteTimeout(readTimeout))
				c := harness.Dial(t, s.Addr)
				if err := c.SetDeadline(time.Time{}); err != nil { // only the server may end it
					t.Fatal(err)
				}
				if _, err := c.Write(frame[:tc.sent]); err != nil {
					return // closed: the machine was too busy to send in time
				}
				checkClosed(t, c, frame[tc.sent:], tc.then)
			})
		}
	}
}

// checkClosed fails the test unless the other side closes c while the rest is sent byte by byte.
func checkClosed(t *testing.T, c net.Conn, rest []byte, pause time.Duration) {
	t.Helper()
	began := time.Now()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, c) // discards what the server sends first
	}()
	patient := time.NewTimer(patience)
	defer patient.Stop()
	var next <-chan time.Time
	if pause > 0 {
		ticker := time.NewTicker(pause)
		defer ticker.Stop()
		next = ticker.C
	}
	for {
		select {
		case <-closed:
			if testkit.Long {
				checkTime(t, t.Name()+": closed", time.Since(began), readTimeout+readTimeout/4)
			}
			return
		case <-next:
			_, _ = c.Write(rest[:1]) // fails once c is closed
			rest = rest[1:]
		case <-patient.C:
			t.Errorf("the connection is open %v after the frame has stopped, want %v", patience, readTimeout)
			c.Close()
			<-closed
			return
		}
	}
}

// recordRequest returns the first request that a client of the kind sends on a connection.
func recordRequest(t *testing.T, k kind, attached []byte) []byte {
	t.Helper()
	recorded := make(chan []byte, 1)
	addr := harness.Peer(t, func(c *net.TCPConn) {
		defer c.Close()
		length := make([]byte, 4)
		if _, err := io.ReadFull(c, length); err != nil {
			return
		}
		frame := make([]byte, 4+binary.BigEndian.Uint32(length))
		copy(frame, length)
		if _, err := io.ReadFull(c, frame[4:]); err == nil {
			recorded <- frame
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	called := make(chan struct{})
	client := newCaller(t, k, addr, pool.MuxConfig{})
	go func() {
		defer close(called)
		_ = client.echo(ctx, "unfinished", attached) // there is no server to answer
	}()
	frame := testkit.Receive(t, "a request", recorded)
	cancel()
	<-called
	return frame
}
