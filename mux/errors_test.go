package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestErrorText: the text says what the call was doing, with whom, what went wrong, and whether the
// call may be made again.
func TestErrorText(t *testing.T) {
	t.Parallel()
	peer := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}
	tooLarge := &FrameError{Reason: "too large", Bytes: 2, Limit: 1}
	for want, err := range map[string]*Error{
		"mux: call waiting for a place: overloaded (not sent, safe to retry)":                                 {Op: "begin", Err: ErrOverloaded},
		"mux: call to 10.0.0.1:80 being sent: closed (not sent, safe to retry)":                               {Op: "send", Addr: peer, Err: ErrClosed},
		"mux: call to 10.0.0.1:80 being sent: bad frame to send: too large (2 bytes, limit 1) (not sent)":     {Op: "send", Addr: peer, Err: tooLarge},
		"mux: call to 10.0.0.1:80 waiting for the reply: EOF (sent, may have run)":                            {Op: "receive", Addr: peer, Err: io.EOF, sent: true},
		"mux: call to 10.0.0.1:80 waiting for the reply: context deadline exceeded (not sent, safe to retry)": {Op: "receive", Addr: peer, Err: context.DeadlineExceeded},
		"mux: call waiting for a place: overloaded (not sent, but another attempt may have been)":             {Op: "begin", Err: ErrOverloaded, SentBefore: true},
		"mux: warm up: peer drains its connections":                                                           {Op: "warm up", Err: errPeerDrains},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestQueuedOneway asks for the reply to oneway calls that wait behind others for a peer that does
// not read. They are sent whenever the peer reads, so no error may say that they were not sent.
func TestQueuedOneway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			testpeer.NewConnected(nc)
			// The pipe has no room.
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		for range 3 {
			c := mustBegin(t, s)
			fill(c, []byte("oneway"))
			if err := c.SendOneway(); err != nil {
				t.Fatal(err)
			}
			var e *Error
			if _, err := c.Receive(); !errors.As(err, &e) || e.NotSent() {
				t.Errorf("got %v, want an error of a call that is sent", err)
			}
			c.End()
		}
	})
}
