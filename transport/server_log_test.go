package transport

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestBadReply: a reply, or a limit, is to blame for what this side made and for what is too long.
// A client that sends something that is no frame is to blame itself.
func TestBadReply(t *testing.T) {
	for err, want := range map[muxserver.FrameError]bool{
		{Reason: "too large", Bytes: 2, Limit: 1}:                 true,
		{Reason: "too large", Bytes: 2, Limit: 1, Received: true}: true,
		{Reason: "no header"}:                                     true,
		{Reason: "no header", Received: true}:                     false,
	} {
		if got := isBadReply(fmt.Errorf("wrapped: %w", &err)); got != want {
			t.Errorf("%v: got %v, want %v", &err, got, want)
		}
	}
}

// TestDyingClientIsLoggedOnce: when a client vanishes, all of its connections fail. The log has one
// line for that, and one more with their number. Other failures have lines of their own.
func TestDyingClientIsLoggedOnce(t *testing.T) {
	captured := captureLogs(t)
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c, err := conn.New(ours, conn.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		h := &serverHandler{}
		for range 39 {
			h.onError(c, muxserver.ErrSilent)
			h.onError(c, &muxserver.FrameError{Reason: "too long"})
			h.onError(c, errors.New("broken pipe"))
			h.onError(c, &conn.PanicError{Value: "boom"})
		}
		time.Sleep(time.Minute)
	})
	for _, class := range []string{muxserver.ErrSilent.Error(), "too long", "broken pipe", "boom"} {
		if got := captured.lines(class); got != 2 {
			t.Errorf("%q: got %d lines, want 2", class, got)
		}
	}
	if got := captured.lines("(37 more not logged)"); got != 4 {
		t.Errorf("got %d lines that count the others, want 4", got)
	}
}
