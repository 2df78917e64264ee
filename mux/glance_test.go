package mux

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestGlances has callers wait for replies where the processors are busy. The first is alone, and
// waits for bytes; when others come, it is called back, and only the poller waits, if there is one.
// The replies come one by one, the last one first. Then the connection ends, with callers that
// wait.
func TestGlances(t *testing.T) {
	const callers = 5
	ids := make(chan uint32, 2*callers)
	peers := make(chan *testpeer.Server, 1)
	s := newTestSet(t, Config{MaxConns: 1, busy: true, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		p := testpeer.NewServer(nc, true)
		peers <- p
		for {
			switch f, err := p.Receive(); {
			case err != nil:
				return
			case !f.IsControl() && len(f.Payload) > 0:
				ids <- f.SeqID
			case !f.IsControl():
				_ = p.Reply(f.SeqID, nil) // fails when the client has gone, as the next Receive
			}
		}
	})})
	connect(t, s)
	peer := <-peers
	ended := make(chan error, callers)
	begin := func() {
		go func() {
			_, err := roundTrip(t.Context(), s, []byte("held"), 0)
			ended <- err
		}()
	}
	isReadBy := func(reader string) bool {
		var dump strings.Builder
		_ = s.DumpText(&dump) // a Builder takes everything
		return strings.Contains(dump.String(), "read by "+reader)
	}
	waits := "a caller"
	if isReadBy("the poller") {
		waits = "the poller"
	}
	for round := range 3 {
		var held []uint32
		for i := range callers {
			begin()
			held = append(held, <-ids)
			if i == 0 {
				testpeer.WaitFor(t, "a caller that is alone to read", func() bool { return isReadBy("a caller") })
			}
		}
		testpeer.WaitFor(t, waits+" to wait for replies", func() bool { return isReadBy(waits) })
		if round == 2 {
			_ = peer.Conn.Close()
			for range held {
				if err := <-ended; err == nil {
					t.Error("a call without a reply succeeded")
				}
			}
			break
		}
		for i := len(held) - 1; i >= 0; i-- {
			if err := peer.Reply(held[i], []byte("held")); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	testpeer.WaitFor(t, "the connection's end", func() bool { return s.Stats().Connections == 0 })
}

// TestGlancesUnderLoad has callers glance at the replies of an echo server that answers at once, so
// that each may find its own, another's, or none.
func TestGlancesUnderLoad(t *testing.T) {
	s := newTestSet(t, Config{MaxConns: 2, busy: true, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		testpeer.NewServer(nc, true).Echo()
	})})
	const callers, each = 20, 200
	done := make(chan struct{})
	for caller := range callers {
		go func() {
			for n := range each {
				want := string([]byte{byte(caller), byte(n)})
				got, err := roundTrip(t.Context(), s, []byte(want), time.Minute)
				if err != nil || string(got) != want {
					t.Errorf("got %q, %v", got, err)
					break
				}
			}
			done <- struct{}{}
		}()
	}
	for range callers {
		<-done
	}
	if st := s.Stats(); st.InFlight != 0 || st.Deaths != 0 {
		t.Errorf("got %+v", st)
	}
}
