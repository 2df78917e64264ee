package mux

import (
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestPingFlood has a peer send pings for as long as it can, and read no answer: what waits to be
// written to it does not grow without a bound.
func TestPingFlood(t *testing.T) {
	const most = 1 << 10
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			p := testpeer.NewConnected(nc)
			for range 1000 {
				if p.Control(frame.SignalPing) != nil {
					return
				}
			}
			time.Sleep(time.Hour)
		}}
		s := d.set(t, Config{MaxConns: 1, MaxPendingBytes: most})
		connect(t, s)
		time.Sleep(time.Second)
		if st := s.Stats(); st.PendingBytes > 2*most || st.Connections != 1 {
			t.Errorf("%d bytes wait, the limit being %d", st.PendingBytes, most)
		}
	})
}

// TestOnewaysTakeMemory makes short oneway calls to a peer that reads nothing: the memory that they
// hold is in proportion to what may wait.
func TestOnewaysTakeMemory(t *testing.T) {
	const most = 64 << 10
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			testpeer.NewConnected(nc)
			time.Sleep(time.Second)
		}}
		s := d.set(t, Config{MaxConns: 1, MaxPendingBytes: most, Overload: FailFast})
		connect(t, s)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		n := 0
		for {
			c, err := s.Begin(t.Context(), time.Time{})
			if err != nil {
				break
			}
			fill(c, []byte("oneway"))
			err = c.SendOneway()
			c.End()
			if err != nil {
				break
			}
			n++
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 16*most {
			t.Errorf("%d bytes may wait; %d oneway calls of %d bytes hold %d", most, n, s.Stats().PendingBytes, held)
		}
	})
}

// TestManyWaiters has many calls wait for one place: the cost of a call that gets the place, or
// leaves when its time is over, does not grow with the number of other waiters.
func TestManyWaiters(t *testing.T) {
	const n, most = 16_000, 32 << 10 // the race detector makes pools drop what they are given
	for _, timeout := range []time.Duration{time.Second, 100 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			d := newEchoDialer(true)
			s := d.set(t, Config{MaxConns: 1, MaxInFlight: 1})
			connect(t, s)
			hold := mustBegin(t, s)
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					if _, err := roundTrip(t.Context(), s, nil, timeout); (err == nil) != (timeout > time.Second) {
						t.Errorf("got %v", err)
					}
				})
			}
			synctest.Wait()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			time.Sleep(2 * time.Second)
			hold.End()
			wg.Wait()
			runtime.ReadMemStats(&after)
			if each := (after.TotalAlloc - before.TotalAlloc) / n; each > most {
				t.Errorf("timeout %v: %d bytes are allocated for each of %d calls to leave the queue", timeout, each, n)
			}
		})
	}
}
