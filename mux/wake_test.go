package mux

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWokenInTurn has callers wake each other; some of them leave by themselves at the moment when
// their replies come. Each gets its reply, or its time is over, and none waits longer.
func TestWokenInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, each = 50, 40
		d := &pipeDialer{serve: latePeer}
		s := d.set(t, Config{MaxConns: 2, busy: true})
		share(t, s, 2)
		var calling sync.WaitGroup
		for caller := range callers {
			calling.Go(func() {
				rnd := rand.New(rand.NewPCG(3, uint64(caller)))
				for range each {
					answered, timeout := time.Duration(1+rnd.IntN(4))*time.Millisecond, time.Duration(1+rnd.IntN(6))*time.Millisecond
					began := time.Now()
					err := late(t.Context(), s, answered, timeout)
					switch took := time.Since(began); {
					case err == nil && took == answered && answered <= timeout:
					case errors.Is(err, os.ErrDeadlineExceeded) && took == timeout && timeout <= answered:
					default:
						t.Errorf("answered after %v, timeout %v: %v after %v", answered, timeout, err, took)
					}
				}
			})
		}
		calling.Wait()
		if st := s.Stats(); st.InFlight != 0 || st.Deaths != 0 {
			t.Errorf("got %+v", st)
		}
	})
}
