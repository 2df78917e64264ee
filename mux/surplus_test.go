package mux

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestMoreConnectionsAtLimits has slow calls meet what the peer has announced for a connection: as
// many more connections are opened as may be, all of them are used as far as the limit allows, and
// they go when fewer suffice. A limit of this side's opens none.
func TestMoreConnectionsAtLimits(t *testing.T) {
	const conns, places = 2, 10
	for _, tc := range []struct {
		name   string
		limits frame.Message
		own    int
		calls  int
		conns  int // connections of the calls in the end
		held   int // calls that the peer has in the end
	}{
		{"below the limit", frame.Message{Places: places}, 0, conns * places, conns, conns * places},
		{"a little above it", frame.Message{Places: places}, 0, 3 * places, 8, 3 * places},
		{"far above it", frame.Message{Places: places}, 0, 500, 8, 8 * places},
		{"bytes", frame.Message{Bytes: places * (frame.MinMemory + 100)}, 0, 500, 8, 8 * places},
		{"this side's own", frame.Message{Places: 100}, places, 500, conns, conns * places},
		{"no limit", frame.Message{}, 0, 500, conns, 500},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHolding(func(nc net.Conn) *testpeer.Server { return testpeer.NewLimitedServer(nc, tc.limits) })
				s := h.set(t, Config{MaxConns: conns, MaxInFlight: tc.own, IdleTimeout: time.Minute})
				payload := make([]byte, 100-frame.MinBytes)
				var making callers
				making.call(s, conns, payload)
				synctest.Wait() // the connections are known
				time.Sleep(time.Second)
				making.call(s, tc.calls-conns, payload)
				time.Sleep(time.Second)
				if st := s.Stats(); st.Shared > tc.conns || st.Shared < min(tc.conns, 3) || int(h.held.Load()) != tc.held {
					t.Errorf("the peer has %d calls, want %d; %+v", h.held.Load(), tc.held, st)
				}
				close(h.release)
				making.Wait()
				time.Sleep(10 * time.Second)
				if st := s.Stats(); st.Connections > conns || making.failed.Load() > 0 || st.Deaths > 0 {
					t.Errorf("%d calls failed, %+v", making.failed.Load(), st)
				}
			})
		})
	}
}

// TestFailFastAtLimits: with FailFast a call waits for a connection that is being opened, and fails
// if no more may be opened.
func TestFailFastAtLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(func(nc net.Conn) *testpeer.Server {
			return testpeer.NewLimitedServer(nc, frame.Message{Places: 1})
		})
		s := h.set(t, Config{MaxConns: 1, Overload: FailFast})
		var making callers
		for range 10 {
			making.call(s, 1, []byte("x"))
			time.Sleep(time.Second)
		}
		if held, failed := h.held.Load(), making.failed.Load(); held != 4 || failed != 6 {
			t.Errorf("the peer has %d calls, %d failed, want 4 and 6: %+v", held, failed, s.Stats())
		}
		close(h.release)
		making.Wait()
	})
}
