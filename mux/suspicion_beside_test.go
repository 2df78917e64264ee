package mux

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// latePeer answers pings at once, and each call after as many milliseconds as its payload's first
// byte says.
func latePeer(nc net.Conn, _ int) {
	defer nc.Close()
	p := testpeer.NewServer(nc, true)
	// One goroutine writes: waiting for a mutex stops the fake clock.
	answers := make(chan uint32, 1000)
	var writing sync.WaitGroup
	writing.Go(func() {
		for id := range answers {
			if id == 0 {
				_ = p.Control(frame.SignalPong) // fails when the client has gone, as the next
			} else {
				_ = p.Reply(id, nil)
			}
		}
	})
	defer writing.Wait()
	defer close(answers)
	var handling sync.WaitGroup
	defer handling.Wait()
	for {
		f, err := p.Receive()
		switch {
		case err != nil:
			return
		case !f.IsControl():
			handling.Go(func() {
				time.Sleep(time.Duration(f.Payload[0]) * time.Millisecond)
				answers <- f.SeqID
			})
		case f.Signal == frame.SignalPing:
			answers <- 0
		}
	}
}

// late makes a call that a latePeer answers after d, which must be less than 256 ms.
func late(ctx context.Context, s *Set, d, timeout time.Duration) error {
	_, err := roundTrip(ctx, s, []byte{byte(d / time.Millisecond)}, timeout)
	return err
}

// share has a set open that many connections.
func share(t *testing.T, s *Set, conns int) {
	t.Helper()
	for s.Stats().Shared < conns {
		var calls sync.WaitGroup
		for range 4 * conns {
			calls.Go(func() {
				if err := late(t.Context(), s, time.Millisecond, 0); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
	}
}

// TestDeadPaths has all connections of a set go dead at some moment, used and idle ones, while new
// ones work. The first call that times out makes all of them suspect. Each caller loses one call,
// the one that it had in flight or began before then, and is answered as soon as another connection
// is there.
func TestDeadPaths(t *testing.T) {
	for seed := range uint64(testpeer.Rounds(50)) {
		rnd := rand.New(rand.NewPCG(seed, 17))
		conns, callers := 1+rnd.IntN(4), 1+rnd.IntN(12)
		timeout := []time.Duration{20, 100, 1000, 3000}[rnd.IntN(4)] * time.Millisecond
		slowest := min(timeout/2, 200*time.Millisecond) // of the answers
		darkAfter := timeout + time.Duration(rnd.Int64N(int64(timeout)))
		synctest.Test(t, func(t *testing.T) {
			n := newDarkNet(latePeer)
			s := NewSet(Config{Dial: n.dial, MaxConns: conns})
			share(t, s, conns)
			time.AfterFunc(darkAfter, n.goDark)
			var calling sync.WaitGroup
			for caller := range callers {
				calling.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(caller)))
					ends := time.Now().Add(darkAfter + 2*timeout)
					for failed := 0; time.Now().Before(ends); {
						began := time.Now()
						switch err := late(t.Context(), s, time.Duration(1+rnd.Int64N(int64(slowest))), timeout); {
						case err == nil:
							if took := time.Since(began); took > slowest+2*minGrace {
								t.Errorf("seed %d: a call has taken %v", seed, took)
							}
						case !errors.Is(err, os.ErrDeadlineExceeded):
							t.Errorf("seed %d: got %v", seed, err)
						default:
							if failed++; failed > 1 {
								t.Errorf("seed %d: %d connections, %d callers, timeout %v: one has lost %d calls", seed, conns, callers, timeout, failed)
							}
						}
					}
				})
			}
			calling.Wait()
			if st := s.Stats(); st.Suspicions == 0 || st.Connections-st.Draining > 2*conns {
				t.Errorf("seed %d: got %+v", seed, st)
			}
			checkAccounts(t, s, seed)
			_ = s.Close()
			n.peer.wg.Wait()
		})
	}
}

// TestSlowCallsBesideOthers has calls time out again and again on connections whose peer is there:
// each is asked, answers, and is kept. No call beside waits for longer than the answer takes, and
// no call that has time fails.
func TestSlowCallsBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const conns, callers = 4, 8
		const quick, slow, timeout = time.Millisecond, 200 * time.Millisecond, 50 * time.Millisecond
		d := &pipeDialer{serve: latePeer}
		s := d.set(t, Config{MaxConns: conns})
		share(t, s, conns)
		before := s.Stats()
		var calling sync.WaitGroup
		for caller := range callers {
			calling.Go(func() {
				rnd := rand.New(rand.NewPCG(1, uint64(caller)))
				for range 50 {
					time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
					switch began := time.Now(); caller % 4 {
					case 0:
						if err := late(t.Context(), s, quick, timeout); err != nil || time.Since(began) > 2*quick {
							t.Errorf("a quick call: %v after %v", err, time.Since(began))
						}
					case 1:
						if err := late(t.Context(), s, slow, time.Minute); err != nil || time.Since(began) > slow+quick {
							t.Errorf("a slow call: %v after %v", err, time.Since(began))
						}
					default:
						if err := late(t.Context(), s, slow, timeout); !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("a call without time: got %v", err)
						}
					}
				}
			})
		}
		calling.Wait()
		if st := s.Stats(); st.Suspicions == before.Suspicions || st.Dials != before.Dials || st.Deaths != 0 || st.Shared != conns {
			t.Errorf("got %+v", st)
		}
	})
}
