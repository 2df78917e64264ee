package mux

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// glances is a set whose processors are busy, with one connection to a peer whose replies the test
// gives.
type glances struct {
	*Set
	peer  *testpeer.Server
	ids   chan uint32 // of requests that the peer has read
	ended chan error  // of calls
}

// dialedIdleTimeout is what the dialer of newGlances sets. A Set must not keep it.
const dialedIdleTimeout = 20 * time.Millisecond

func newGlances(t *testing.T) *glances {
	t.Helper()
	peers := make(chan *testpeer.Server, 1)
	g := &glances{ids: make(chan uint32, 10), ended: make(chan error, 10)}
	dial := loopback(t, testGroup(t), func(nc net.Conn) {
		p := testpeer.NewServer(nc, true)
		peers <- p
		for {
			switch f, err := p.Receive(); {
			case err != nil:
				return
			case !f.IsControl() && len(f.Payload) > 0:
				g.ids <- f.SeqID
			case !f.IsControl():
				_ = p.Reply(f.SeqID, nil) // fails when the client has gone, as the next Receive
			}
		}
	})
	g.Set = newTestSet(t, Config{MaxConns: 1, busy: true, Dial: func(ctx context.Context) (*conn.Conn, error) {
		c, err := dial(ctx)
		if err == nil {
			err = c.SetIdleTimeout(dialedIdleTimeout)
		}
		return c, err
	}})
	connect(t, g.Set)
	g.peer = <-peers
	return g
}

// begin makes a call and returns its ID once the peer has its request.
func (g *glances) begin(t *testing.T) uint32 {
	t.Helper()
	go func() {
		_, err := roundTrip(t.Context(), g.Set, []byte("held"), 0)
		g.ended <- err
	}()
	return <-g.ids
}

func (g *glances) reply(t *testing.T, id uint32) {
	t.Helper()
	if err := g.peer.Reply(id, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-g.ended; err != nil {
		t.Error(err)
	}
}

func (g *glances) isReadBy(reader string) bool {
	var dump strings.Builder
	_ = g.DumpText(&dump) // a Builder takes everything
	return strings.Contains(dump.String(), "read by "+reader)
}

// TestGlances has callers wait for replies where the processors are busy. The first is alone, and
// waits for bytes. When others come, it is called back, and only the poller waits, if there is one.
// The replies come one by one, the last one first, so that the first caller is alone again. In the
// end the connection closes, with callers that wait.
func TestGlances(t *testing.T) {
	const callers = 5
	g := newGlances(t)
	waits := "a caller"
	if g.isReadBy("the poller") {
		waits = "the poller"
	}
	var held []uint32
	for range 3 {
		held = append(held, g.begin(t))
		testpeer.WaitFor(t, "a caller that is alone to read", func() bool { return g.isReadBy("a caller") })
		for len(held) < callers {
			held = append(held, g.begin(t))
		}
		testpeer.WaitFor(t, waits+" to wait for replies", func() bool { return g.isReadBy(waits) })
		for ; len(held) > 0; held = held[:len(held)-1] {
			g.reply(t, held[len(held)-1])
		}
	}
	for range callers {
		g.begin(t)
	}
	testpeer.WaitFor(t, waits+" to wait for replies", func() bool { return g.isReadBy(waits) })
	_ = g.peer.Conn.Close()
	for range callers {
		if err := <-g.ended; err == nil {
			t.Error("a call without a reply succeeded")
		}
	}
	testpeer.WaitFor(t, "the connection's end", func() bool { return g.Stats().Connections == 0 })
}

// TestGlancesAreNoIdleTime has callers wait for longer than the idle timeout that the dialer has
// set, while no goroutine reads: the connection is in use.
func TestGlancesAreNoIdleTime(t *testing.T) {
	g := newGlances(t)
	held := []uint32{g.begin(t), g.begin(t)}
	<-time.After(5 * dialedIdleTimeout)
	for _, id := range held {
		g.reply(t, id)
	}
}

// TestGlancesAtLargeReply has a large reply come in parts, where callers do not wait for them: each
// part counts, so that the connection does not pass for one whose reply does not go on.
func TestGlancesAtLargeReply(t *testing.T) {
	const parts = 8
	g := newGlances(t)
	large, other := g.begin(t), g.begin(t)
	cc := onlyConn(t, g.Set)
	whole := testpeer.RequestFrame(large, make([]byte, parts*partBytes))
	for sent := 0; sent < len(whole); {
		before := cc.arrived.progress.Load()
		part := whole[sent:min(sent+2*partBytes, len(whole))]
		if _, err := g.peer.Conn.Write(part); err != nil {
			t.Fatal(err)
		}
		sent += len(part)
		testpeer.WaitFor(t, "a part to count", func() bool { return cc.arrived.progress.Load() > before })
	}
	if err := <-g.ended; err != nil {
		t.Error(err)
	}
	g.reply(t, other)
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
