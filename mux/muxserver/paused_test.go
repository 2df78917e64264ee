package muxserver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// TestPausedIsNotSilent: a client whose connection the server does not read gets pongs so often
// that it does not take the path for dead, with a heartbeat and without. It gets none when the
// connection is read again.
func TestPausedIsNotSilent(t *testing.T) {
	for _, heartbeat := range []time.Duration{-1, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			const pause = 10 * time.Second
			b := newBubble(t, Config{MaxRequestBytesPerConn: 64 * kib, Heartbeat: heartbeat})
			p := b.dialMarked(t)
			p.send(t, request(2, 64*kib), onewayFrame(3, make([]byte, 60*kib)), onewayFrame(4, make([]byte, 60*kib)))
			if st := b.Stats(); st.Pauses != 1 {
				t.Fatalf("got %+v, want a pause", st)
			}
			var longest time.Duration
			pongs, last := 0, time.Now()
			for end := time.Now().Add(pause); time.Now().Before(end); time.Sleep(pulse.SuspicionPause / 4) {
				for len(p.got) > 0 {
					if r := <-p.got; r.Signal == frame.SignalPong {
						longest, last = max(longest, time.Since(last)), time.Now()
						pongs++
					}
				}
			}
			if most := pulse.SuspicionLimit / 2; longest > most || time.Since(last) > most || pongs > int(4*pause/pulse.SuspicionLimit) {
				t.Errorf("heartbeat %v: %d signs of life in %v, %v between two of them", heartbeat, pongs, pause, longest)
			}
			for range 3 {
				b.release <- struct{}{}
			}
			synctest.Wait()
			for len(p.got) > 0 {
				<-p.got
			}
			time.Sleep(pause)
			synctest.Wait()
			for len(p.got) > 0 {
				if r := <-p.got; r.Signal == frame.SignalPong {
					t.Errorf("heartbeat %v: told of a pause that is over", heartbeat)
				}
			}
			if b.pauses.busy {
				t.Error("a timer is set without a paused connection")
			}
		})
	}
}
