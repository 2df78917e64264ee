package mux

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestRetire has the caller say that the connection must not be used again. That ends a connection
// of its own, and leaves a shared one alone.
func TestRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, marked := range []bool{true, false} {
			d := newEchoDialer(marked)
			s := d.set(t, Config{})
			for range 3 {
				c := mustBegin(t, s)
				mustSend(t, c, nil)
				if _, err := c.Receive(); err != nil {
					t.Fatal(err)
				}
				c.Retire()
				c.End()
			}
			synctest.Wait() // a reply may come before the write of its request has returned
			want := Stats{Dials: 3, Drains: 3}
			if marked {
				want = Stats{Dials: 1, Connections: 1}
			}
			if st := s.Stats(); st.Dials != want.Dials || st.Connections != want.Connections || st.Drains != want.Drains || st.Deaths != 0 {
				t.Errorf("marked %v: got %+v, want %+v", marked, st, want)
			}
		}
	})
}

// TestRandomConfigs runs calls under random limits, ages and policies, in random order with drains:
// every call ends, and nothing is left.
func TestRandomConfigs(t *testing.T) {
	for seed := range uint64(testpeer.Rounds(12)) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 6))
			d := newEchoDialer(rnd.IntN(3) > 0)
			failing := rnd.IntN(3) == 0
			s := NewSet(Config{
				MaxConns: 1 + rnd.IntN(5), MaxUnshared: 1 + rnd.IntN(10), MaxInFlight: 1 + rnd.IntN(20),
				MaxPendingBytes: 1 + rnd.IntN(10_000), MaxBatchFrames: 1 + rnd.IntN(10), MaxBatchBytes: 1 + rnd.IntN(5000),
				MaxAge: time.Duration(rnd.IntN(2000)) * time.Millisecond, IdleTimeout: time.Duration(rnd.IntN(300)) * time.Millisecond,
				Heartbeat: time.Duration(rnd.IntN(500)) * time.Millisecond, firstGeneration: uint16(rnd.Uint32()), busy: rnd.IntN(2) == 0,
				Dial: func(ctx context.Context) (*conn.Conn, error) {
					if failing && rand.IntN(3) == 0 {
						return nil, errDial
					}
					return d.dial(ctx)
				},
			})
			done := make(chan struct{})
			const callers, each = 20, 30
			for g := range callers {
				go func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(g)))
					for range each {
						time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
						want := make([]byte, 1+rnd.IntN(30_000))
						want[0] = byte(g)
						got, err := roundTrip(t.Context(), s, want, time.Minute)
						if err == nil && (len(got) != len(want) || got[0] != want[0]) || err != nil && !failing {
							t.Errorf("seed %d: got %d bytes, %v", seed, len(got), err)
						}
						if rnd.IntN(100) == 0 {
							s.Drain()
						}
					}
					done <- struct{}{}
				}()
			}
			for range callers {
				<-done
			}
			synctest.Wait() // a reply may come before the write of its request has returned
			if st := s.Stats(); st.InFlight != 0 || st.Waiting != 0 || st.PendingBytes != 0 || st.Deaths != 0 {
				t.Errorf("seed %d: got %+v", seed, st)
			}
			_ = s.Close()
			d.wg.Wait()
		})
	}
}
