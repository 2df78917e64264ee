package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/buffer"
)

// TestBothEndsAtRandom has clients and a server with limits of all sizes over TCP: idle times,
// ages, heartbeats, few places. Calls that are in time get their own replies, and no call is
// handled twice or lost.
func TestBothEndsAtRandom(t *testing.T) {
	for seed := range uint64(testpeer.Rounds(4)) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			bothEndsAtRandom(t, seed)
		})
	}
}

func bothEndsAtRandom(t *testing.T, seed uint64) {
	t.Helper()
	kills := seed%2 == 1
	rnd := rand.New(rand.NewPCG(seed, 5))
	var mu sync.Mutex
	handled := make(map[uint64]int)
	srv := startServer(t, muxserver.Config{
		Handler: answering(func(_ context.Context, call *muxserver.Call) bool {
			p := testpeer.RequestPayload(call)
			id := binary.BigEndian.Uint64(p)
			mu.Lock()
			handled[id]++
			mu.Unlock()
			if id%7 == 0 {
				time.Sleep(time.Duration(id%5) * time.Millisecond)
			}
			return p[8] != 'o' && testpeer.Answer(call, p)
		}),
		MaxHandlersPerConn: 1 + rnd.IntN(20), MaxHandlers: rnd.IntN(20), MaxRequestBytesPerConn: rnd.Int64N(200_000), MaxRequestBytes: rnd.Int64N(400_000), MaxPendingBytes: 1 + rnd.IntN(100_000),
		IdleTimeout: time.Duration(2+rnd.IntN(2)) * time.Second / 8, Heartbeat: 4 * time.Second,
	})
	s := newTestSet(t, Config{
		Dial: dialTo(t, srv.Addr.String), MaxConns: 1 + rnd.IntN(3), MaxInFlight: 1 + rnd.IntN(10), MaxPendingBytes: 1 + rnd.IntN(100_000),
		MaxAge: time.Duration(rnd.IntN(2)) * 50 * time.Millisecond, IdleTimeout: time.Duration(rnd.IntN(2)) * 20 * time.Millisecond, Heartbeat: 4 * time.Second,
	})
	var next, oneways, lates atomic.Uint64
	sent := make([]atomic.Bool, 1<<16) // answered or oneway
	var wg sync.WaitGroup
	until := time.Now().Add(300 * time.Millisecond)
	var killer sync.WaitGroup
	if kills {
		killer.Go(func() {
			for time.Now().Before(until) {
				time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
				srv.kill()
			}
		})
	}
	for g := range 24 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(g)))
			for time.Now().Before(until) {
				id := next.Add(1)
				if id >= 1<<16 {
					return
				}
				want := make([]byte, 9+rnd.IntN(1+rnd.IntN(40_000)))
				binary.BigEndian.PutUint64(want, id)
				timeout := 20 * time.Second
				if rnd.IntN(20) == 0 {
					timeout = time.Duration(rnd.IntN(4000)) * time.Microsecond
				}
				c, err := s.Begin(t.Context(), time.Now().Add(timeout))
				if err == nil {
					if rnd.IntN(10) == 0 {
						want[8] = 'o'
						fill(c, want)
						if err = c.SendOneway(); err == nil {
							oneways.Add(1)
							sent[id].Store(true)
						}
					} else {
						var r buffer.Reader
						if r, err = ask(c, want); err == nil {
							got, _ := replyPayload(r)
							if len(got) != len(want) || binary.BigEndian.Uint64(got) != id {
								t.Errorf("seed %d: wrong reply", seed)
							}
							sent[id].Store(true)
						}
					}
					c.End()
				}
				var e *Error
				if err != nil {
					if !errors.As(err, &e) || !kills && (!e.Timeout() || timeout > time.Second) {
						t.Errorf("seed %d: %v", seed, err)
					}
					lates.Add(1)
					if e != nil && e.NotSent() {
						mu.Lock()
						handled[id] -= 1000
						mu.Unlock()
					}
				}
				if rnd.IntN(30) == 0 {
					time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	killer.Wait()
	missing := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for id := range sent {
			if !kills && sent[id].Load() && handled[uint64(id)] == 0 {
				n++
			}
		}
		return n
	}
	testpeer.WaitFor(t, "oneways", func() bool { return missing() == 0 })
	mu.Lock()
	for id, n := range handled {
		if n != 1 && n != -1000 {
			t.Errorf("seed %d: call %d was handled %d times", seed, id, n)
		}
	}
	mu.Unlock()
	testpeer.WaitFor(t, "late replies", func() bool { st := s.Stats(); return st.InFlight == 0 && st.Abandoned == 0 && st.PendingBytes == 0 })
	t.Logf("seed %d: %d calls, %d oneways, %d late, %+v", seed, next.Load(), oneways.Load(), lates.Load(), s.Stats())
}

// ask sends a request, again if it is refused, and returns the reply.
func ask(c *Call, payload []byte) (buffer.Reader, error) {
	for {
		fill(c, payload)
		if err := c.Send(); err != nil {
			return nil, err
		}
		reply, err := c.Receive()
		if !errors.Is(err, ErrRefused) {
			return reply, err
		}
		if err := c.Again(); err != nil {
			return nil, err
		}
	}
}
