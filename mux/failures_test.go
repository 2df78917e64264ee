package mux

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestDialFailures: a dial that panics or ends its goroutine has failed. Its calls get that error,
// the next call dials again, and Close has nothing to wait for.
func TestDialFailures(t *testing.T) {
	for ending, failure := range testpeer.Failures() {
		t.Run(ending, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				echo := newEchoDialer(true)
				var fails atomic.Bool
				fails.Store(true)
				s := newTestSet(t, Config{Dial: func(ctx context.Context) (*conn.Conn, error) {
					if fails.Load() {
						failure.Fail()
					}
					return echo.dial(ctx)
				}})
				began := time.Now()
				_, err := roundTrip(t.Context(), s, nil, time.Minute)
				var failed *conn.PanicError
				if !errors.As(err, &failed) || failed.Value != failure.Value {
					t.Errorf("got %v, want a *conn.PanicError with %v", err, failure.Value)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("the call failed after %v, want at once", took)
				}
				if err := s.WarmUp(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "callback") {
					t.Errorf("WarmUp: got %v, want the dial's failure", err)
				}
				if st := s.Stats(); st.Dialing != 0 || st.Connections != 0 {
					t.Errorf("got %v, want nothing left", st)
				}
				fails.Store(false)
				time.Sleep(time.Second)
				wantAnswer(t, s, nil, time.Minute)
			})
		})
	}
}
