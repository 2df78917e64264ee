package mux

import (
	"bytes"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/buffer"
)

// TestLongReplyIsInOnePiece: a reply that comes in many parts, whose readers leave one after the
// other, is in memory that a codec takes over as it is.
func TestLongReplyIsInOnePiece(t *testing.T) {
	const parts, partBytes = 10, 100 << 10
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewConnected(nc)
			var last testpeer.Received
			for range parts {
				last, _ = p.ReceiveCall()
			}
			reply := testpeer.Frame(last.SeqID, frame.SignalNone, bytes.Repeat([]byte("x"), parts*partBytes))
			for ; len(reply) > 0; time.Sleep(time.Second) {
				n, _ := nc.Write(reply[:min(len(reply), partBytes)])
				reply = reply[n:]
			}
			p.Echo()
		}}
		s := d.set(t, Config{MaxConns: 1, ReadTimeout: time.Minute})
		connect(t, s)
		var calls []*Call
		for i := range parts { // each but the last reads until its time is over
			c, err := s.Begin(t.Context(), time.Now().Add(time.Duration(i+1)*1100*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			defer c.End()
			mustSend(t, c, nil)
			calls = append(calls, c)
		}
		for _, c := range calls[:parts-1] {
			if _, err := c.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		}
		reply, err := calls[parts-1].Receive()
		if err != nil {
			t.Fatal(err)
		}
		if first := len(reply.(*buffer.LinkBuffer).First()); first != reply.Len() {
			t.Errorf("the first %d bytes of %d lie together, want all", first, reply.Len())
		}
		if got, err := replyPayload(reply); err != nil || len(bytes.Trim(got, "x")) > 0 || len(got) != parts*partBytes {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
}
