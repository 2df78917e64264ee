package muxserver

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// sendBatch sends requests 1 to n at once.
func sendBatch(t testing.TB, p *testpeer.Client, n uint32) {
	t.Helper()
	var frames [][]byte
	for id := range n {
		frames = append(frames, testpeer.Frame(id+1, frame.SignalNone, nil))
	}
	p.Send(t, frames...)
}

// batchServer is a server on one connection, in a bubble of synctest. Requests sent together come
// together.
type batchServer struct {
	*Server
	client *testpeer.Client

	mu    sync.Mutex
	began map[uint32]time.Duration // guarded by mu: when calls have begun, by sequence ID
	birth time.Time
}

// newBatchServer serves calls with handler, which may block.
func newBatchServer(t *testing.T, cfg Config, handler handlerFunc) *batchServer {
	t.Helper()
	b := &batchServer{began: map[uint32]time.Duration{}, birth: time.Now()}
	cfg.Handler = handlerFunc(func(ctx context.Context, call *Call) bool {
		b.mu.Lock()
		b.began[call.SeqID()] = time.Since(b.birth)
		b.mu.Unlock()
		return handler(ctx, call)
	})
	var err error
	if b.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	if _, err := conn.New(theirs, conn.Config{OnRequest: b.OnRequest}, nil); err != nil {
		t.Fatal(err)
	}
	b.client = testpeer.NewClient(ours)
	return b
}

// end closes the client's side, and checks that nothing is left.
func (b *batchServer) end(t *testing.T) {
	t.Helper()
	_ = b.client.Close()
	time.Sleep(10 * helpPeriod)
	synctest.Wait()
	if st := b.Stats(); st.InFlight != 0 || st.PendingBytes != 0 || st.Conns != 0 {
		t.Errorf("left: %+v", st)
	}
	b.helper.mu.Lock()
	defer b.helper.mu.Unlock()
	if b.helper.busy || len(b.helper.conns) > 0 {
		t.Error("the helper goes on without calls")
	}
}

// beginnings returns when the calls of a batch of n have begun, in the order of their IDs.
func (b *batchServer) beginnings(n uint32) (times []time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range n {
		at, ok := b.began[id+1]
		if !ok {
			at = -1
		}
		times = append(times, at)
	}
	return times
}

// TestCallThatBlocksInBatch: whichever call of a batch blocks, the calls behind it begin meanwhile,
// and the replies of those before and behind it leave: at once if workers handle them, else at the
// helper's second tick at the latest.
func TestCallThatBlocksInBatch(t *testing.T) {
	const n = 6
	for name, credit := range handlings {
		for slow := uint32(1); slow <= n; slow++ {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				b := newBatchServer(t, Config{credit: credit}, func(ctx context.Context, call *Call) bool {
					if call.SeqID() == slow {
						<-release
					}
					return echoHandler(ctx, call)
				})
				sendBatch(t, b.client, n)
				seen := map[uint32]bool{slow: true}
				for range n - 1 {
					r := b.client.MustReceive(t)
					if seen[r.SeqID] {
						t.Fatalf("%s, call %d blocks: a second reply to %d, or one to that", name, slow, r.SeqID)
					}
					seen[r.SeqID] = true
				}
				most := time.Duration(0)
				if credit > 0 {
					most = 2 * helpPeriod
				}
				if took := time.Since(b.birth); took > most {
					t.Errorf("%s, call %d blocks: the others took %v, want %v at most", name, slow, took, most)
				}
				close(release)
				if r := b.client.MustReceive(t); r.SeqID != slow {
					t.Errorf("%s: got a reply to %d, want %d", name, r.SeqID, slow)
				}
				b.end(t)
			})
		}
	}
}

// TestReaderAsksForHelp: the reader handles calls one after the other for longTime, and no longer.
func TestReaderAsksForHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, each = 12, 60 * time.Microsecond
		b := newBatchServer(t, Config{credit: 2 * quickPerLong}, func(ctx context.Context, call *Call) bool {
			time.Sleep(each)
			return echoHandler(ctx, call)
		})
		sendBatch(t, b.client, n)
		for range n {
			b.client.MustReceive(t)
		}
		var want []time.Duration
		for at := time.Duration(0); len(want) < n; at += each {
			want = append(want, at)
			for at > longTime && len(want) < n {
				want = append(want, at) // workers begin all calls that are left
			}
		}
		if got := b.beginnings(n); !slices.Equal(got, want) {
			t.Errorf("calls began at %v, want %v", got, want)
		}
		b.end(t)
	})
}

// TestRepliesOfBatchLeaveTogether: the replies of calls that the reader handles, panics among them,
// are one write.
func TestRepliesOfBatchLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 8
		b := newBatchServer(t, Config{
			credit:  2 * quickPerLong,
			OnPanic: func(call *Call, _ any, _ []byte) bool { return testpeer.Answer(call, []byte("panicked")) },
		}, func(ctx context.Context, call *Call) bool {
			if call.SeqID()%3 == 0 {
				panic("of a test")
			}
			return echoHandler(ctx, call)
		})
		for round := range uint64(3) {
			synctest.Wait() // no one writes
			sendBatch(t, b.client, n)
			for id := range uint32(n) {
				if r := b.client.MustReceive(t); r.SeqID != id+1 {
					t.Fatalf("reply %d is to %d", id+1, r.SeqID)
				}
			}
			if st := b.Stats(); st.Batches != round+1 || st.Frames != n*(round+1) {
				t.Errorf("round %d: %d replies in %d writes, want %d in one each", round, st.Frames, st.Batches, n*(round+1))
			}
		}
		b.end(t)
	})
}

// TestHandlerEndsReader: if a handler ends the reader's goroutine, the rest of the batch is still
// handled, the replies before it leave, and the connection goes on.
func TestHandlerEndsReader(t *testing.T) {
	const n = 6
	for bad := uint32(1); bad <= n; bad++ {
		synctest.Test(t, func(t *testing.T) {
			b := newBatchServer(t, Config{
				credit:  2 * quickPerLong,
				OnPanic: func(call *Call, _ any, _ []byte) bool { return testpeer.Answer(call, nil) },
			}, func(ctx context.Context, call *Call) bool {
				if call.SeqID() == bad {
					runtime.Goexit()
				}
				return echoHandler(ctx, call)
			})
			for range 3 {
				began := time.Now()
				sendBatch(t, b.client, n)
				answered := map[uint32]bool{}
				for range n {
					answered[b.client.MustReceive(t).SeqID] = true
				}
				if len(answered) != n || time.Since(began) != 0 {
					t.Errorf("call %d ends its goroutine: %d of %d calls answered, after %v", bad, len(answered), n, time.Since(began))
				}
			}
			b.end(t)
		})
	}
}

// TestBatchOfDeadConnection: when the connection dies, only the oneways in its line still begin.
func TestBatchOfDeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, oneway = 5, 5
		release := make(chan struct{})
		b := newBatchServer(t, Config{credit: 2 * quickPerLong}, func(ctx context.Context, call *Call) bool {
			<-release
			return echoHandler(ctx, call)
		})
		var frames [][]byte
		for id := range uint32(n) {
			frames = append(frames, testpeer.Frame(id+1, frame.SignalNone, nil))
		}
		frames[0] = asMarked(frames[0], true, false)
		frames[oneway-1] = onewayFrame(oneway, nil)
		b.client.Send(t, frames...)
		synctest.Wait() // the first blocks
		b.snapshot()[0].end()
		time.Sleep(2 * helpPeriod)
		synctest.Wait()
		if st := b.Stats(); st.Skipped != n-2 || st.InFlight != 2 {
			t.Errorf("got %v, want %d calls skipped and 2 in flight", st, n-2)
		}
		if began := b.beginnings(n); began[0] < 0 || began[oneway-1] < 0 {
			t.Errorf("calls began at %v, want the first and the oneway to have begun", began)
		}
		close(release)
		b.end(t)
	})
}

// TestShutdownWithBatch: a server that is shut down while a batch is handled answers all of it.
func TestShutdownWithBatch(t *testing.T) {
	const n = 6
	for name, credit := range handlings {
		for slow := uint32(1); slow <= n; slow++ {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				b := newBatchServer(t, Config{credit: credit}, func(ctx context.Context, call *Call) bool {
					if call.SeqID() == slow {
						<-release
					}
					return echoHandler(ctx, call)
				})
				sendBatch(t, b.client, n)
				synctest.Wait() // it blocks
				done := make(chan error, 1)
				go func() { done <- b.Shutdown(t.Context()) }()
				time.AfterFunc(2*stockGrace, func() { close(release) })
				for range n {
					b.client.MustReceive(t)
				}
				if _, err := b.client.Receive(); err != io.EOF {
					t.Errorf("%s, call %d is slow: got %v after the last reply, want EOF", name, slow, err)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				b.end(t)
			})
		}
	}
}

// TestReaderRests: if the next batch is there whenever the reader is back, workers handle every
// other batch, so that the reader parks.
func TestReaderRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, each = 3, quickTime
		b := newBatchServer(t, Config{credit: 2 * quickPerLong}, func(ctx context.Context, call *Call) bool {
			time.Sleep(each)
			return echoHandler(ctx, call)
		})
		for batch, want := range [][]time.Duration{{0, each, 2 * each}, {0, 0, 0}, {0, each, 2 * each}} {
			synctest.Wait() // no one writes
			began := time.Since(b.birth)
			sendBatch(t, b.client, n)
			for range n {
				b.client.MustReceive(t)
			}
			for i := range want {
				want[i] += began
			}
			if got := b.beginnings(n); !slices.Equal(got, want) {
				t.Errorf("batch %d: calls began at %v, want %v", batch, got, want)
			}
		}
		b.end(t)
	})
}

// TestReaderIsRelieved: while a call blocks in place, what comes behind it is read and answered,
// although no sweep helps, and the next batch is handled as quickly as before.
func TestReaderIsRelieved(t *testing.T) {
	began, release := make(chan struct{}), make(chan struct{})
	s := startWithoutSweep(t, Config{credit: 2 * quickPerLong, Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
		if call.SeqID() == 100 {
			began <- struct{}{}
			<-release
		}
		return echoHandler(ctx, call)
	})})
	p := s.Dial(t)
	for range 5 {
		p.Send(t, testpeer.Frame(100, frame.SignalNone, nil), testpeer.Frame(1, frame.SignalNone, nil))
		<-began // so that these are not in one batch with what comes behind them
		p.MustReceive(t)
		for range 3 {
			sendBatch(t, p, 4)
			for range 4 {
				if r := p.MustReceive(t); r.SeqID == 100 {
					t.Fatal("a reply to a call that is under way")
				}
			}
		}
		release <- struct{}{}
		if r := p.MustReceive(t); r.SeqID != 100 {
			t.Fatalf("got a reply to %d, want the one to the call that blocked", r.SeqID)
		}
		s.snapshot()[0].trust.credit.Store(2 * quickPerLong)
	}
}

// startWithoutSweep is startMuxServer in a group that does not sweep while the test lasts.
func startWithoutSweep(t *testing.T, cfg Config) *muxServer {
	t.Helper()
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	group, err := conn.NewGroup(conn.GroupConfig{SweepPeriod: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return startMuxServerIn(t, "tcp", srv, group)
}

// TestBatchesOfAllKinds: whatever handlers do, each call gets one reply, and nothing is left when
// the server ends.
func TestBatchesOfAllKinds(t *testing.T) {
	const peers, batches, most = 4, 60, 40
	s := startWithoutSweep(t, Config{
		MaxHandlersPerConn: 24, credit: 2 * quickPerLong,
		Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
			call.conn.trust.credit.Store(2 * quickPerLong)
			switch rand.IntN(40) {
			case 0:
				panic("of a test")
			case 6:
				runtime.Goexit()
			case 1:
				<-time.After(time.Duration(rand.IntN(int(4 * helpPeriod))))
			case 2, 3, 4, 5:
				spin(quickTime)
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
