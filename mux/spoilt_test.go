package mux

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// newSpoiltDialer dials peers that echo, and end a connection at a request that begins with
// "poison", whether or not they have said hello by then.
func newSpoiltDialer() *pipeDialer {
	return &pipeDialer{serve: func(nc net.Conn, _ int) {
		defer nc.Close()
		p := testpeer.NewServer(nc, true)
		for {
			f, err := testpeer.Receive(p.In)
			if err != nil || bytes.HasPrefix(f.Payload, []byte("poison")) {
				return
			}
			if !p.HasSaidHello() {
				_ = p.SayHello()
			}
			if p.Reply(f.SeqID, f.Payload) != nil {
				return
			}
		}
	}}
}

// TestSpoiltConnection has first requests on which the peer ends their connections. Each such call
// fails, and no other does, whether it waited for the hello or begins in the pause.
func TestSpoiltConnection(t *testing.T) {
	for _, conns := range []int{1, 2, 8} {
		synctest.Test(t, func(t *testing.T) {
			d := newSpoiltDialer()
			s := d.set(t, Config{MaxConns: conns})
			first := make([]*Call, conns)
			for i := range first {
				var err error
				if first[i], err = s.Begin(t.Context(), time.Time{}); err != nil {
					t.Fatal(err)
				}
				fill(first[i], []byte("poison"))
			}
			var making callers
			making.call(s, 20, []byte("x"))
			synctest.Wait()
			if st := s.Stats(); st.Waiting != 20 {
				t.Errorf("got %+v, want 20 calls that wait", st)
			}
			for _, c := range first {
				_ = c.Send()
			}
			for _, c := range first {
				if _, err := c.Receive(); err == nil {
					t.Error("a call was answered at which its connection ended")
				}
				c.End()
			}
			making.call(s, 20, []byte("x"))
			making.Wait()
			if n := making.failed.Load(); n > 0 {
				t.Errorf("%d connections: %d other calls failed", conns, n)
			}
			if st := s.Stats(); st.Dials > uint64(3*conns) {
				t.Errorf("%d connections: got %+v", conns, st)
			}
		})
	}
}

// TestOnlySpoiltConnections has every first request end its connection: after mostSpoilt
// connections, and soon, calls that have sent nothing fail as well.
func TestOnlySpoiltConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 20
		d := newSpoiltDialer()
		s := d.set(t, Config{MaxConns: 1})
		var making sync.WaitGroup
		var notSent atomic.Int32
		began := time.Now()
		for range calls {
			making.Go(func() {
				c, err := s.Begin(context.Background(), time.Now().Add(time.Minute))
				if err != nil {
					notSent.Add(1)
					return
				}
				defer c.End()
				fill(c, []byte("poison"))
				_ = c.Send()
				if _, err := c.Receive(); err == nil {
					t.Error("a call was answered")
				}
			})
		}
		making.Wait()
		if took := time.Since(began); took > 2*defaultBackoffMax {
			t.Errorf("the last call failed after %v", took)
		}
		if n := d.dials.Load(); n != mostSpoilt || notSent.Load() != calls-mostSpoilt {
			t.Errorf("%d dials, and %d calls were not sent; want %d and %d", n, notSent.Load(), mostSpoilt, calls-mostSpoilt)
		}
	})
}
