package mux

import (
	"net"
	"runtime"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestUnreadConnection has the peer speak on a connection that no caller reads, on a socket that a
// poller watches: what it says is noticed at any time, without a goroutine that waits for it.
func TestUnreadConnection(t *testing.T) {
	const callers = 10
	peers := make(chan *testpeer.Server, 1)
	s := newTestSet(t, Config{MaxConns: 1, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		p := testpeer.NewServer(nc, true)
		peers <- p
		p.Echo()
	})})
	connect(t, s)
	peer := <-peers
	pongs := func() uint64 { return s.Stats().Frames }
	for range 5 {
		before := pongs()
		if err := peer.Control(frame.SignalPing); err != nil {
			t.Fatal(err)
		}
		testpeer.WaitFor(t, "a pong", func() bool { return pongs() == before+1 })
	}
	goroutines := runtime.NumGoroutine()
	calls := make([]*Call, callers)
	for i := range calls {
		c := mustBegin(t, s)
		calls[i] = c
		mustSend(t, c, []byte{byte(i)})
	}
	testpeer.WaitFor(t, "replies that no caller waits for yet", func() bool { return s.Stats().InFlight == 0 })
	for i, c := range calls {
		r, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := replyPayload(r); err != nil || len(got) != 1 || got[0] != byte(i) {
			t.Errorf("call %d: got %v, %v", i, got, err)
		}
		c.End()
	}
	if n := runtime.NumGoroutine(); n > goroutines+callers/2 {
		t.Errorf("%d goroutines, and %d before the calls", n, goroutines)
	}
	if err := peer.Control(frame.SignalDrain); err != nil {
		t.Fatal(err)
	}
	testpeer.WaitFor(t, "the connection's end after a drain", func() bool { st := s.Stats(); return st.PeerDrains == 1 && st.Connections == 0 })
	connect(t, s)
	peer = <-peers
	_ = peer.Conn.Close()
	testpeer.WaitFor(t, "the connection's end", func() bool { st := s.Stats(); return st.Deaths == 1 && st.Connections == 0 })
}
