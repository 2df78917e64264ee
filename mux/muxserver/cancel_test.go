package muxserver

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestCancelRunning: the handler of a cancelled call is told, once, if it has asked for that. Its
// reply is not sent, and the client is told so. A call that was answered, is not in flight or has
// no reply cannot be cancelled.
func TestCancelRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := map[uint32]int{}
		var b *bubble
		b = newBubble(t, Config{Handler: handlerFunc(func(_ context.Context, call *Call) bool {
			id := call.SeqID()
			if want := id < 100 && id > 1; call.CanCancel() != want {
				t.Errorf("call %d can be cancelled: %v", id, !want)
			}
			if id%2 == 0 {
				call.OnCancel(func() { told[id]++ })
			}
			b.begun <- id
			<-b.release
			return testpeer.Answer(call, nil)
		})})
		p := b.dialMarked(t)
		for _, request := range [][]byte{testpeer.RequestFrame(2, nil), testpeer.RequestFrame(3, nil), testpeer.RequestFrame(4, nil), onewayFrame(100, nil)} {
			p.send(t, request)
			<-b.begun
		}
		p.send(t, cancelOf(2, 3, 100, 77, 2, 1<<16|4), cancelOf(2))
		p.quiet(t)
		if st := b.Stats(); told[2] != 1 || len(told) != 1 || st.Cancelled != 2 || st.InFlight != 4 {
			t.Errorf("told %v, got %+v", told, st)
		}
		for range 4 {
			b.release <- struct{}{}
		}
		synctest.Wait()
		got := map[uint32]int{}
		for range 3 {
			r := p.next(t)
			for _, id := range answeredBy(r) {
				if got[id]++; r.IsControl() != (id < 4) || r.IsControl() && r.Message.Reason != frame.ReasonCancelled {
					t.Errorf("got %+v", r)
				}
			}
		}
		p.quiet(t)
		if len(got) != 3 || got[2] != 1 || got[3] != 1 || got[4] != 1 {
			t.Errorf("answered %v", got)
		}
		p.send(t, cancelOf(4), testpeer.RequestFrame(4, nil)) // the ID is used again
		p.finish(t, b)
		if told[4] != 0 {
			t.Error("a call that was answered was cancelled")
		}
	})
}

// TestCancelQueued: a call that was cancelled before it began does not begin, and the client is
// told so.
func TestCancelQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		p := b.dialMarked(t)
		p.send(t, testpeer.RequestFrame(2, nil))
		sc := b.snapshot()[0]
		f := incoming{Prefix: frame.Prefix{SeqID: 3, Bytes: frame.MinBytes}, length: frame.MinBytes, came: frame.MinBytes, marked: true}
		// As the reading side does with a call that waits for a worker, while nothing is read.
		if v := sc.claim(demand{bytes: f.Bytes, came: f.Bytes, held: f.Bytes}); v != admitted {
			t.Fatal(v)
		}
		queued := newCall(t.Context(), sc, f, frame.Take())
		p.send(t, cancelOf(3))
		queued.handle(0, false)
		synctest.Wait()
		p.refused(t, frame.ReasonCancelled, 3)
		if st := b.Stats(); st.InFlight != 1 || st.Cancelled != 1 || len(b.begun) != 1 {
			t.Errorf("got %v, %d begun", st, len(b.begun))
		}
		p.finish(t, b)
	})
}

// TestNoReplyIsAnswered: a request that wants a reply is answered although its handler gives none;
// a oneway is not answered although its handler gives a reply.
func TestNoReplyIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{Handler: handlerFunc(func(_ context.Context, call *Call) bool {
			switch call.SeqID() {
			case 2:
				return false
			case 3:
				panic("asked for")
			case 4:
				return testpeer.AnswerTo(call, 99, nil)
			}
			return testpeer.Answer(call, nil)
		})})
		p := b.dial(t)
		p.send(t, testpeer.Marked(testpeer.RequestFrame(2, nil), frame.Message{}))
		p.answered(t, 0, frame.SignalHello)
		p.refused(t, frame.ReasonCancelled, 2)
		for id := uint32(3); id < 5; id++ {
			p.send(t, testpeer.RequestFrame(id, nil))
			p.refused(t, frame.ReasonCancelled, id)
		}
		p.send(t, onewayFrame(5, nil))
		p.quiet(t)
		if st := b.Stats(); st.Calls != 4 || st.Lost != 0 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestSlots has calls begin, be cancelled and end concurrently. Each is cancelled at most once, its
// hook is called only if it was cancelled and at most once, and an ID can be used again when its
// call has ended.
func TestSlots(t *testing.T) {
	var table slotTable
	rnd := rand.New(rand.NewPCG(1, 9))
	for range testpeer.Rounds(20_000) {
		id := rnd.Uint32()
		s := table.take(id)
		if s == nil {
			t.Fatal("a free slot is taken")
		}
		if table.take(id) != nil || table.take(id^1<<31) != nil {
			t.Fatal("a slot in use is free")
		}
		if _, cancelled := table.cancel(id ^ 1<<16); cancelled {
			t.Fatal("another generation's call was cancelled")
		}
		var hooked, called atomic.Int32
		var ended bool
		var call sync.WaitGroup
		call.Go(func() {
			if rnd := id % 3; rnd > 0 {
				hooked.Store(1)
				if now := s.hook(func() { called.Add(1) }); now != nil {
					now()
				}
			}
			ended = s.free()
		})
		cancels := int32(0)
		for range 2 {
			hook, cancelled := table.cancel(id)
			if cancelled {
				cancels++
			}
			if hook != nil {
				hook()
			}
		}
		call.Wait()
		if cancels > 1 || (cancels == 1) != ended || called.Load() > cancels*hooked.Load() {
			t.Fatalf("cancelled %d times, %v at the end; %d hooks, called %d times", cancels, ended, hooked.Load(), called.Load())
		}
	}
}
