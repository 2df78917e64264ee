package muxserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestPeerThatNeverReads: what waits for such a peer is bounded, other peers are served, and the
// write timeout ends its connection.
func TestPeerThatNeverReads(t *testing.T) {
	const (
		perConn, replyBytes, pending = 8, 256 << 10, 1 << 20
		bound                        = pending + (perConn+1)*(replyBytes+100)
	)
	failures := make(chan error, 10)
	s := startMuxServer(t, "tcp", Config{
		MaxHandlersPerConn: perConn, MaxPendingBytes: pending, WriteTimeout: 500 * time.Millisecond,
		OnError: func(_ *conn.Conn, err error) { failures <- err },
		Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
			if call.SeqID() == 1 {
				return echoHandler(ctx, call)
			}
			return testpeer.Answer(call, make([]byte, replyBytes))
		}),
	})
	deaf, other := s.Dial(t), s.Dial(t)
	go func() {
		for { // until the server closes
			if _, err := deaf.Write(testpeer.Frame(2, frame.SignalNone, make([]byte, 100))); err != nil {
				return
			}
		}
	}()
	paused := false
	for gone := false; !gone; {
		st := s.Stats()
		paused = paused || st.Pauses > 0
		if st.PendingBytes > bound {
			t.Fatalf("%d bytes wait for a peer that does not read, want at most %d", st.PendingBytes, bound)
		}
		other.Send(t, testpeer.Frame(1, frame.SignalNone, nil))
		other.MustReceive(t)
		select {
		case err := <-failures:
			gone = true
			if !os.IsTimeout(err) {
				t.Errorf("got %v, want a timeout", err)
			}
		default:
		}
	}
	if !paused {
		t.Error("its requests were read although it did not read")
	}
	testpeer.WaitFor(t, "the connection to end", func() bool { return s.Stats().Conns == 1 && s.Stats().PendingBytes == 0 })
}

// TestPauseEndsWhenThePeerReads: a pause ends when the peer reads, and no reply is missing.
func TestPauseEndsWhenThePeerReads(t *testing.T) {
	for _, network := range serverNetworks {
		t.Run(network, func(t *testing.T) {
			s := startMuxServer(t, network, Config{
				MaxHandlersPerConn: 4, MaxPendingBytes: 64 << 10,
				Handler: handlerFunc(func(_ context.Context, call *Call) bool { return testpeer.Answer(call, make([]byte, 300<<10)) }),
			})
			p := s.Dial(t)
			const calls = 60
			go func() {
				for id := range uint32(calls) {
					_, _ = p.Write(testpeer.Frame(id, frame.SignalNone, nil))
				}
			}()
			testpeer.WaitFor(t, "a pause", func() bool { return s.Stats().Pauses > 0 })
			for range calls {
				p.MustReceive(t)
			}
		})
	}
}

// TestLargeRepliesAndSmall: replies on another connection do not wait for a reply of 15 MB.
func TestLargeRepliesAndSmall(t *testing.T) {
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
		if call.SeqID() == 15 {
			return testpeer.Answer(call, make([]byte, 15<<20))
		}
		return echoHandler(ctx, call)
	})})
	large, small := s.Dial(t), s.Dial(t)
	large.Send(t, testpeer.Frame(15, frame.SignalNone, nil))
	testpeer.WaitFor(t, "the large reply", func() bool { return s.Stats().PendingBytes > 0 })
	for range 100 { // nobody reads the large one
		small.Send(t, testpeer.Frame(1, frame.SignalNone, make([]byte, 1024)))
		small.MustReceive(t)
	}
	if s.Stats().PendingBytes == 0 {
		t.Error("the large reply has gone out although nobody reads it")
	}
	large.Send(t, testpeer.Frame(2, frame.SignalNone, nil)) // behind it
	if r := large.MustReceive(t); len(r.Payload) != 15<<20 {
		t.Errorf("got %d bytes, want 15 MiB", len(r.Payload))
	}
	if r := large.MustReceive(t); r.SeqID != 2 {
		t.Errorf("got a reply to %d, want 2", r.SeqID)
	}
}

// TestRandomServers runs random configurations, requests and ends over net.Pipe in a bubble. Each
// request is answered at most once, and exactly once if neither side closes early; no limit is
// exceeded; nothing is left.
func TestRandomServers(t *testing.T) {
	for seed := range uint64(testpeer.Rounds(4000)) {
		synctest.Test(t, func(t *testing.T) { randomServer(t, seed) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func randomServer(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 5))
	var atGate peak
	perConn, all := 1+rnd.IntN(4), rnd.IntN(4)
	if seed%8 == 0 {
		perConn = 0 // no limit in number, except for unmarked clients
	}
	srv, err := New(Config{
		MaxRequestBytesPerConn: rnd.Int64N(3) * 6000, MaxRequestBytes: rnd.Int64N(3) * stepBytes,
		MaxFrameBytes:      rnd.IntN(2) * 1500,
		OnTooLarge:         func(call *Call, _ error) bool { return testpeer.Answer(call, []byte("too large")) },
		OnBadReply:         func(call *Call, _ error) bool { return testpeer.Answer(call, nil) },
		MaxHandlersPerConn: perConn, MaxHandlers: all, MaxPendingBytes: 1 + rnd.IntN(4000),
		credit: rnd.Int32N(2*quickPerLong + 1), MaxBatchFrames: rnd.IntN(3), WriteTimeout: time.Minute,
		OnPanic: func(call *Call, _ any, _ []byte) bool { return testpeer.Answer(call, []byte("panic")) },
		Handler: handlerFunc(func(_ context.Context, call *Call) bool {
			atGate.enter()
			defer atGate.leave()
			payload := testpeer.RequestPayload(call)
			cancelled := make(chan struct{})
			if call.SeqID()%2 == 0 {
				call.OnCancel(func() { close(cancelled) })
			}
			select {
			case <-cancelled:
			case <-time.After(time.Duration(binary.BigEndian.Uint16(payload[1:])) * time.Millisecond):
			}
			switch payload[0] {
			case askPanic:
				panic("asked for")
			case askOneway:
				return false
			}
			return testpeer.Answer(call, payload)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	shut := rnd.IntN(4) == 0
	var clients sync.WaitGroup
	for range 1 + rnd.IntN(3) {
		ours, theirs := net.Pipe()
		if _, err := conn.New(theirs, conn.Config{OnRequest: srv.OnRequest}, nil); err != nil {
			t.Fatal(err)
		}
		seed := rnd.Uint64()
		clients.Go(func() { randomClient(t, ours, seed, shut) })
	}
	if shut {
		time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(200))*time.Millisecond)
		_ = srv.Shutdown(ctx) // its error is tested elsewhere
		cancel()
	}
	clients.Wait()
	_ = srv.Close()
	synctest.Wait()
	time.Sleep(time.Second) // handlers end
	synctest.Wait()
	st, room := srv.Stats(), &srv.room
	if st.Conns != 0 || st.InFlight != 0 || st.PendingBytes != 0 || st.RequestBytes != 0 {
		t.Errorf("left: %+v", st)
	}
	if room.held.Load() != 0 || room.oneways.get() != (amount{}) || room.waiting.Load() != 0 || srv.gate.inside.Load() != 0 {
		t.Errorf("left in the room: %d bytes, oneways %+v, %d that wait; %d inside",
			room.held.Load(), room.oneways.get(), room.waiting.Load(), srv.gate.inside.Load())
	}
	if t.Failed() {
		t.Logf("%+v; %+v", srv.config, st)
	}
	// Oneways of marked clients, which are not refused, come besides.
	if all > 0 && atGate.most() > 2*all {
		t.Errorf("got %d handlers at a time, want at most %d", atGate.most(), 2*all)
	}
}

// randomClient sends requests, reads replies, and ends at its end or earlier.
func randomClient(t *testing.T, nc net.Conn, seed uint64, shut bool) {
	rnd := rand.New(rand.NewPCG(seed, 6))
	n := rnd.IntN(12)
	leavesEarly := rnd.IntN(3) == 0
	var mu sync.Mutex
	want := map[uint32]bool{}
	left, marked := 0, seed%2 == 0
	var writer sync.WaitGroup
	writer.Go(func() {
		for id := range uint32(n) {
			what := byte(rnd.IntN(3))
			mu.Lock()
			if what != askOneway {
				want[id] = true
				left++
			}
			mu.Unlock()
			size := rnd.IntN(2000)
			if what == askOneway && !marked {
				// The server takes it for a call, and would answer it if it were too large.
				size /= 2
			}
			request := testpeer.Frame(id+1, frame.SignalNone, script(what, uint16(rnd.IntN(20)), make([]byte, size)))
			if marked {
				request = asMarked(request, id == 0, what == askOneway)
			}
			for len(request) > 0 {
				k := min(len(request), 1+rnd.IntN(1500))
				if _, err := nc.Write(request[:k]); err != nil {
					return
				}
				request = request[k:]
				if len(request) == 0 && marked && rnd.IntN(4) == 0 {
					request = append(request, cancelOf(1+uint32(rnd.IntN(int(id)+1)), id+1)...)
				}
				time.Sleep(time.Duration(rnd.IntN(3)) * time.Millisecond)
			}
		}
	})
	if leavesEarly {
		time.AfterFunc(time.Duration(seed%50)*time.Millisecond, func() { nc.Close() })
	} else {
		time.AfterFunc(10*time.Second, func() { nc.Close() })
	}
	p := testpeer.NewClient(nc)
	for {
		r, err := p.Receive()
		if err != nil {
			break
		}
		mu.Lock()
		for _, id := range answeredBy(r) {
			if !want[id-1] {
				t.Errorf("a second answer to %d, or one that was not asked for", id)
			}
			delete(want, id-1)
			left--
		}
		mu.Unlock()
	}
	writer.Wait()
	if left > 0 && !leavesEarly && !shut {
		t.Errorf("of %d requests, marked %v, these were not answered: %v", n, marked, slices.Sorted(maps.Keys(want)))
	}
}

// mallocsOf returns how many allocations f makes in the whole process.
func mallocsOf(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// zeroCopyEcho answers with the request's own blocks, and allocates nothing.
func zeroCopyEcho(_ context.Context, call *Call) bool {
	return call.Reply().Append(call.Request()) == nil
}

// TestServerAllocations: in the steady state a call allocates nothing.
func TestServerAllocations(t *testing.T) {
	if _, checked := buffer.Outstanding(); checked || testkit.Race {
		t.Skip("buffercheck and the race detector allocate")
	}
	for name, credit := range handlings {
		for _, atOnce := range []int{1, 32} {
			t.Run(fmt.Sprintf("%s/%d", name, atOnce), func(t *testing.T) {
				s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(zeroCopyEcho), credit: credit})
				p := s.Dial(t)
				w := newWindow(p, atOnce, 1024)
				const calls = 2000
				w.mustRun(t, calls)
				best := uint64(calls)
				for range 5 { // other goroutines of the process may allocate too
					best = min(best, mallocsOf(func() { w.mustRun(t, calls) }))
				}
				if best > calls/50 {
					t.Errorf("got %d allocations in %d calls, want next to none", best, calls)
				}
			})
		}
	}
}

// window is a client that keeps a number of calls in flight and does little else.
type window struct {
	peer   *testpeer.Client
	frame  []byte
	atOnce int
	out    []byte
	in     []byte
}

func newWindow(p *testpeer.Client, atOnce, payload int) *window {
	w := &window{peer: p, atOnce: atOnce, frame: testpeer.Frame(7, frame.SignalNone, make([]byte, payload)), in: make([]byte, 128<<10)}
	for range atOnce {
		w.out = append(w.out, w.frame...)
	}
	return w
}

// run makes n calls. Replies are as long as requests.
func (w *window) run(n int) error {
	sent := min(n, w.atOnce)
	if _, err := w.peer.Write(w.out[:sent*len(w.frame)]); err != nil {
		return err
	}
	got, answered := 0, 0
	for answered < n {
		k, err := w.peer.Read(w.in)
		if err != nil {
			return fmt.Errorf("after %d replies: %w", answered, err)
		}
		got += k
		came := got/len(w.frame) - answered
		answered += came
		if next := min(came, n-sent); next > 0 {
			if _, err := w.peer.Write(w.out[:next*len(w.frame)]); err != nil {
				return err
			}
			sent += next
		}
	}
	return nil
}

// mustRun is run for calls that must succeed, on the test's own goroutine.
func (w *window) mustRun(t testing.TB, n int) {
	t.Helper()
	if err := w.run(n); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkServer compares the two ways in which calls are handled at first, on one connection:
// calls of 1 KiB, with handlers that take no time, some, or wait.
func BenchmarkServer(b *testing.B) {
	handlers := []struct {
		name string
		f    handlerFunc
	}{
		{"echo", zeroCopyEcho},
		{"5us", func(ctx context.Context, call *Call) bool {
			spin(5 * time.Microsecond)
			return zeroCopyEcho(ctx, call)
		}},
		{"50us", func(ctx context.Context, call *Call) bool {
			spin(50 * time.Microsecond)
			return zeroCopyEcho(ctx, call)
		}},
		{"wait1ms", func(ctx context.Context, call *Call) bool {
			time.Sleep(time.Millisecond)
			return zeroCopyEcho(ctx, call)
		}},
	}
	for _, h := range handlers {
		for _, atOnce := range []int{1, 10, 100} {
			for name, credit := range handlings {
				b.Run(fmt.Sprintf("%s/calls=%d/%s", h.name, atOnce, name), func(b *testing.B) {
					s := startMuxServer(b, "tcp", Config{Handler: h.f, credit: credit})
					w := newWindow(s.Dial(b), atOnce, 1024)
					w.mustRun(b, 1000)
					b.ReportAllocs()
					b.ResetTimer()
					w.mustRun(b, b.N)
				})
			}
		}
	}
}

// spin keeps the processor busy.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
		spun.Add(1)
	}
}

var spun atomic.Int64

// TestLimitsLoseNoWakeUp has calls leave at the very moment at which the next one is turned away:
// if nothing resumed its connection then, it would wait forever.
func TestLimitsLoseNoWakeUp(t *testing.T) {
	for _, tc := range []struct{ conns, perConn, all int }{{1, 1, 0}, {2, 0, 1}, {3, 2, 2}} {
		t.Run(fmt.Sprintf("%+v", tc), func(t *testing.T) {
			s := startMuxServer(t, "tcp", Config{
				Handler: handlerFunc(zeroCopyEcho), MaxHandlersPerConn: tc.perConn, MaxHandlers: tc.all,
			})
			rounds := 10
			if testing.Short() {
				rounds = 1
			}
			var all sync.WaitGroup
			for range tc.conns {
				w := newWindow(s.Dial(t), 64, 1)
				all.Go(func() {
					for range rounds {
						_ = w.peer.SetReadDeadline(time.Now().Add(testpeer.Patience))
						if err := w.run(1000); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}
