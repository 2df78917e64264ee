package muxserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// takeForQuick has the reader of sc believe that its calls are quick, whatever they were.
func takeForQuick(sc *Conn) {
	sc.pace.typical.Store(1)
	sc.pace.slow.Store(false)
	sc.pace.delays.last.Store(0)
	sc.pace.hitches.last.Store(0)
}

// startQuick is startMuxServer in a group that does not sweep while the test lasts, on connections
// whose calls count as quick.
func startQuick(t *testing.T, cfg Config) *muxServer {
	t.Helper()
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	group, err := conn.NewGroup(conn.GroupConfig{SweepPeriod: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s := startMuxServerIn(t, "tcp", srv, group)
	attach := takeForQuick
	s.attach.Store(&attach)
	return s
}

// sendBatch sends requests 1 to n at once.
func sendBatch(t testing.TB, p *testpeer.Client, n uint32) {
	t.Helper()
	var frames [][]byte
	for id := range n {
		frames = append(frames, testpeer.Frame(id+1, frame.SignalNone, nil))
	}
	p.Send(t, frames...)
}

// TestSlowCallInBatch: a call that does not return holds up neither the replies of those before it
// nor those behind it, whichever it is, although the sweep does nothing for them.
func TestSlowCallInBatch(t *testing.T) {
	const calls = 6
	var slow atomic.Uint32
	var inLine atomic.Int32
	release := make(chan struct{})
	s := startQuick(t, Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
		if call.SeqID() == slow.Load() {
			if !call.conn.line.isEmpty() || call.conn.out.Pending() > 0 {
				inLine.Add(1)
			}
			<-release
		}
		return echoHandler(ctx, call)
	})})
	for range 5 {
		for at := uint32(1); at <= calls; at++ {
			slow.Store(at)
			p := s.Dial(t)
			sendBatch(t, p, calls)
			seen := map[uint32]bool{at: true}
			for range calls - 1 {
				r := p.MustReceive(t)
				if seen[r.SeqID] {
					t.Fatalf("a second reply to %d, or one to a call under way", r.SeqID)
				}
				seen[r.SeqID] = true
			}
			release <- struct{}{}
			if r := p.MustReceive(t); r.SeqID != at {
				t.Fatalf("got a reply to %d, want %d", r.SeqID, at)
			}
		}
	}
	if inLine.Load() == 0 {
		t.Error("no slow call was one of a batch that the reader had kept")
	}
}

// TestBatchLeavesTogether: the replies of a batch of quick calls leave in one write, those to
// handlers that panic among them.
func TestBatchLeavesTogether(t *testing.T) {
	const calls = 8
	s := startQuick(t, Config{
		Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
			if call.SeqID()%3 == 0 {
				panic("of a test")
			}
			return echoHandler(ctx, call)
		}),
		OnPanic: func(call *Call, _ any, _ []byte) bool { return testpeer.Answer(call, []byte("panicked")) },
	})
	for range 1000 { // what is sent at once may come in parts, and a tick of the helper between
		before := s.Stats().Writes
		p := s.Dial(t)
		sendBatch(t, p, calls)
		inOrder := true // unless the panics took so long that workers got what was behind them
		for id := range uint32(calls) {
			r := p.MustReceive(t)
			if panicked := string(r.Payload) == "panicked"; panicked != (r.SeqID%3 == 0) {
				t.Fatalf("reply %d is to %d: %q", id, r.SeqID, r.Payload)
			}
			inOrder = inOrder && r.SeqID == id+1
		}
		if inOrder && s.Stats().Writes == before+1 {
			return
		}
	}
	t.Errorf("%d replies never left in one write", calls)
}

// TestBatchesOfAllKinds: whatever handlers do, each call gets one reply, and nothing is left when
// the server ends.
func TestBatchesOfAllKinds(t *testing.T) {
	const peers, batches, most = 4, 60, 40
	s := startQuick(t, Config{
		MaxHandlersPerConn: 24,
		Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
			takeForQuick(call.conn)
			switch rand.IntN(40) {
			case 0:
				panic("of a test")
			case 6:
				runtime.Goexit()
			case 1:
				<-time.After(time.Duration(rand.IntN(int(2 * helpPeriod))))
			case 2, 3, 4, 5:
				spin(batchTime / 2)
			}
			return echoHandler(ctx, call)
		}),
		OnPanic: func(call *Call, _ any, _ []byte) bool { return testpeer.Answer(call, nil) },
	})
	done := make(chan error, peers)
	for range peers {
		p := s.Dial(t)
		_ = p.SetDeadline(time.Now().Add(2 * testpeer.Patience))
		go func() { done <- askInBatches(p, batches, most) }()
	}
	for range peers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	testpeer.WaitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 && s.Stats().PendingBytes == 0 })
	testpeer.WaitFor(t, "the helper to rest", func() bool {
		s.helper.mu.Lock()
		defer s.helper.mu.Unlock()
		return !s.helper.busy && len(s.helper.conns) == 0
	})
}

// askInBatches sends batches of up to most requests each, and reads their replies before the next.
func askInBatches(p *testpeer.Client, batches, most int) error {
	for range batches {
		n := uint32(1 + rand.IntN(most))
		var all []byte
		for id := range n {
			all = append(all, testpeer.Frame(id+1, frame.SignalNone, []byte("request"))...)
		}
		if _, err := p.Write(all); err != nil {
			return err
		}
		seen := make(map[uint32]bool)
		for range n {
			r, err := p.Receive()
			if err != nil {
				return err
			}
			if r.SeqID == 0 || r.SeqID > n || seen[r.SeqID] {
				return fmt.Errorf("a reply too many, to %d of %d", r.SeqID, n)
			}
			seen[r.SeqID] = true
		}
	}
	return nil
}

// TestFitting: the reader keeps as many calls as are likely to be over soon.
func TestFitting(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tc := range []struct {
		name      string
		took      func(i int) time.Duration
		min, most int
	}{
		{"quick", func(int) time.Duration { return time.Microsecond }, maxInPlace, maxInPlace},
		{"a tenth of the time", func(int) time.Duration { return batchTime / 10 }, 10, 10},
		{"half the time", func(int) time.Duration { return batchTime / 2 }, 2, 2},
		{"more than half", func(int) time.Duration { return batchTime/2 + time.Microsecond }, 1, 1},
		{"one in five is slow", func(i int) time.Duration {
			if i%5 == 0 {
				return time.Second
			}
			return time.Microsecond
		}, 1, 1},
		{"no time at all", func(int) time.Duration { return 0 }, maxInPlace, maxInPlace},
	} {
		p := pace{start: now}
		if n := p.fitting(now); n != 1 {
			t.Errorf("%s: keeps %d before the first call", tc.name, n)
		}
		for i := range 201 {
			p.note(now, now.Add(tc.took(i)), false)
			p.slow.Store(false)
			if n := p.fitting(now); i > 100 && (n < tc.min || n > tc.most) {
				t.Fatalf("%s: keeps %d after %d calls, want %d to %d", tc.name, n, i, tc.min, tc.most)
			}
		}
		p.slow.Store(true)
		if n := p.fitting(now); n != 1 {
			t.Errorf("%s: keeps %d after a slow call", tc.name, n)
		}
	}
}

// TestHitches: after a call in place that was not quick the reader keeps no others, for longer if
// that happens again.
func TestHitches(t *testing.T) {
	now := time.Unix(1000, 0)
	p := pace{start: now}
	quick := func() {
		for range 50 {
			p.note(now, now.Add(time.Microsecond), true)
		}
	}
	for want := minKeepCaution; want < maxKeepCaution; want *= 2 {
		p.note(now, now.Add(hitchHandler+1), true)
		now = now.Add(hitchHandler + 1)
		quick()
		if n := p.fitting(now.Add(want - 1)); n != 1 {
			t.Errorf("keeps %d within %v, want 1", n, want)
		}
		now = now.Add(want)
		if n := p.fitting(now); n != maxInPlace {
			t.Errorf("keeps %d after %v, want %d", n, want, maxInPlace)
		}
	}
	if p.isDoubtful(now) {
		t.Error("the last call is not handled in place")
	}
	now = now.Add(3 * maxKeepCaution)
	p.note(now, now.Add(time.Second), false)
	quick()
	if n := p.fitting(now.Add(time.Second)); n != maxInPlace {
		t.Errorf("keeps %d after a slow call that held up none, want %d", n, maxInPlace)
	}
}

// TestOneSlowCallIsForgotten: a call that took long counts for a while.
func TestOneSlowCallIsForgotten(t *testing.T) {
	now := time.Unix(1000, 0)
	p := pace{start: now}
	quick := func(n int) {
		for range n {
			p.note(now, now.Add(5*time.Microsecond), true)
		}
	}
	quick(10)
	p.note(now, now.Add(stallHandler), false)
	quick(1)
	if n := p.fitting(now); n != 1 {
		t.Errorf("keeps %d after one slow call of two, want 1", n)
	}
	quick(24)
	if n := p.fitting(now); n < 5 {
		t.Errorf("keeps %d after 24 quick calls, want 5 at least", n)
	}
}

// BenchmarkMixedServer has a handler that is quick but for one call in so many, which waits a millisecond.
func BenchmarkMixedServer(b *testing.B) {
	for _, oneIn := range []uint64{5, 100, 1000} {
		for _, atOnce := range []int{10, 100} {
			b.Run(fmt.Sprintf("slow=1in%d/calls=%d", oneIn, atOnce), func(b *testing.B) {
				var calls atomic.Uint64
				s := startMuxServer(b, "tcp", Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
					if calls.Add(1)%oneIn == 0 {
						time.Sleep(time.Millisecond)
					}
					return zeroCopyEcho(ctx, call)
				})})
				w := newWindow(s.Dial(b), atOnce, 1024)
				w.mustRun(b, 1000)
				b.ReportAllocs()
				b.ResetTimer()
				w.mustRun(b, b.N)
			})
		}
	}
}
