//go:build unix

package mux

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

// cpuTime is what the process has used of its processors.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestDeafPeers: clients that send requests and read no reply hold no goroutine but the one that
// writes, and the server's shutdown gives them up when its time is over, without looking busy.
func TestDeafPeers(t *testing.T) {
	const peers, perConn, pending, replyBytes = 8, 16, 1 << 20, 64 << 10
	s := startMuxServer(t, "tcp", ServerConfig{
		MaxHandlersPerConn: perConn, MaxPendingBytes: pending, WriteTimeout: -1,
		Handler: handlerFunc(func(_ context.Context, call *ServerCall) bool { return answer(call, make([]byte, replyBytes)) }),
	})
	for i := range peers {
		p := s.dial(t)
		sig := signalNone
		if i%2 == 0 {
			sig = signalHello
		}
		go func() { // until the server closes
			frame := wireFrame(1, sig, make([]byte, 100))
			for {
				if _, err := p.Write(frame); err != nil {
					return
				}
			}
		}()
	}
	var before ServerStats
	waitFor(t, "the server to read no more", func() bool {
		st := s.Stats()
		// A server that has met its limit reads no more until all has gone out; a part may have.
		rests := st.InFlight == 0 && st.Calls == before.Calls && st.PendingBytes >= peers*pending*3/4
		before = st
		return rests
	})
	if most := int64(peers * (pending + perConn*(replyBytes+100))); before.PendingBytes > most {
		t.Errorf("%d bytes wait, want %d at most", before.PendingBytes, most)
	}
	const patience = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began, used := time.Now(), cpuTime(t)
	err := s.Shutdown(ctx)
	took := time.Since(began)
	used = cpuTime(t) - used
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if took > 3*patience {
		t.Errorf("the shutdown took %v, want %v", took, patience)
	}
	if used > patience/5 {
		t.Errorf("the shutdown used the processors for %v of %v", used, took)
	}
	waitFor(t, "connections to end", func() bool {
		st := s.Stats()
		return st.Conns == 0 && st.InFlight == 0 && st.PendingBytes == 0
	})
}

// TestShortFramesTakeMemory: what waits for a client that does not read is bounded by the memory it
// takes, which is much more than its bytes if it is many short replies, or answers to heartbeats.
func TestShortFramesTakeMemory(t *testing.T) {
	const perConn, pending, batch = 16, 1 << 20, 64
	for name, frame := range map[string][]byte{
		"calls": wireFrame(1, signalNone, nil), "pings": appendControl(nil, signalPing),
	} {
		t.Run(name, func(t *testing.T) {
			s := startMuxServer(t, "tcp", ServerConfig{
				MaxHandlersPerConn: perConn, MaxPendingBytes: pending, WriteTimeout: -1,
				Handler: handlerFunc(func(_ context.Context, call *ServerCall) bool { return answer(call, nil) }),
			})
			p := s.dial(t)
			p.send(t, wireFrame(1, signalHello, nil))
			go func() { // until the server closes
				for many := bytes.Repeat(frame, 1000); ; {
					if _, err := p.Write(many); err != nil {
						return
					}
				}
			}()
			var before ServerStats
			seen := time.Now() // that it did something
			waitFor(t, "the server to read no more", func() bool {
				st := s.Stats()
				if st.Calls != before.Calls || st.Pings != before.Pings || st.Frames != before.Frames || st.InFlight > 0 {
					before, seen = st, time.Now()
				}
				return st.Pauses > 0 && st.PendingBytes > 0 && time.Since(seen) > 200*time.Millisecond
			})
			waiting := int64(before.Replies+before.Pings) - int64(before.Frames)
			if most := int64(pending/frameMemory + perConn + batch); waiting > most {
				t.Errorf("%d frames wait, of %d bytes, want %d at most", waiting, before.PendingBytes, most)
			}
		})
	}
}
