package output

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/buffer"
)

var errFake = errors.New("fake stream failed")

// fakeStream takes as much of each write as it likes.
type fakeStream struct {
	mu       sync.Mutex
	rnd      *rand.Rand
	timeout  time.Duration
	room     int // how much the kernel has room for without waiting, per write; 0: random
	failAt   int // bytes after which a write fails; 0: never
	stuck    chan struct{}
	data     []byte
	writing  bool
	patients int // writes that may wait
}

func (s *fakeStream) SetWriteTimeout(d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timeout = d
	return nil
}

func (s *fakeStream) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.writing {
		panic("two write at a time")
	}
	s.writing = true
	patient, stuck := s.timeout != tryTimeout, s.stuck
	if patient {
		s.patients++
	}
	s.mu.Unlock()
	if patient && stuck != nil {
		<-stuck
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
	n := len(p)
	if !patient {
		switch {
		case s.room > 0:
			n = min(n, s.room)
		case s.rnd.IntN(3) == 0:
			n = s.rnd.IntN(n + 1)
		}
		if stuck != nil {
			n = 0
		}
	}
	if s.failAt > 0 && len(s.data)+n >= s.failAt {
		n = s.failAt - len(s.data)
		s.data = append(s.data, p[:n]...)
		return n, errFake
	}
	s.data = append(s.data, p[:n]...)
	if n < len(p) {
		return n, fmt.Errorf("fake: %w", os.ErrDeadlineExceeded)
	}
	return n, nil
}

// numbered returns a frame of n bytes that carries its sender's number, id, and n.
func numbered(id, n int) *buffer.LinkBuffer {
	p := make([]byte, max(n, 8))
	binary.BigEndian.PutUint32(p, uint32(id))
	binary.BigEndian.PutUint32(p[4:], uint32(len(p)))
	for i := 8; i < len(p); i++ {
		p[i] = byte(id + i)
	}
	return testpeer.BufferOf(p, 1+n/3)
}

// splitNumbered takes whole frames off data and returns their senders, and what is left.
func splitNumbered(t *testing.T, data []byte) (ids []int, rest []byte) {
	t.Helper()
	for len(data) >= 8 {
		id, n := int(binary.BigEndian.Uint32(data)), int(binary.BigEndian.Uint32(data[4:]))
		if n < 8 || n > len(data) {
			break
		}
		for i := 8; i < n; i++ {
			if data[i] != byte(id+i) {
				t.Fatalf("frame of %d is torn at byte %d of %d", id, i, n)
			}
		}
		ids = append(ids, id)
		data = data[n:]
	}
	return ids, data
}

// TestOutputModel has many goroutines send at once on a stream that takes what it likes: each frame
// arrives whole and once, in order of position, unless it was cancelled; a cancelled frame does not
// arrive.
func TestOutputModel(t *testing.T) {
	for seed := range uint64(testpeer.Rounds(8)) {
		for _, waits := range []bool{false, true} {
			for _, lent := range []bool{false, true} {
				checkOutput(t, seed, Config{Waits: waits, Lent: lent, MaxBatchBytes: int(1 + seed*1000), MaxBatchFrames: int(1 + seed)})
			}
		}
	}
}

func checkOutput(t *testing.T, seed uint64, cfg Config) {
	t.Helper()
	s := &fakeStream{rnd: rand.New(rand.NewPCG(seed, 1))}
	o := New(s, cfg)
	const senders, each = 8, 20
	var mu sync.Mutex
	var wg sync.WaitGroup
	positions := map[int]uint64{}
	cancelled := map[int]bool{}
	for g := range senders {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(g+2)))
			for i := range each {
				id := g*each + i
				at, err := o.Send(numbered(id, testpeer.RandomSize(rnd)), Company(rnd.IntN(2)))
				if err != nil {
					t.Errorf("send: %v", err)
				}
				out := rnd.IntN(4) == 0 && o.Cancel(at)
				if rnd.IntN(4) == 0 {
					o.Trim()
				}
				mu.Lock()
				positions[id] = at
				cancelled[id] = out
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	flushed := make(chan struct{})
	o.AfterFlush(func() { close(flushed) })
	<-flushed
	ids, rest := splitNumbered(t, s.data)
	if len(rest) > 0 {
		t.Fatalf("%d bytes after the last frame", len(rest))
	}
	seen := map[int]bool{}
	for i, id := range ids {
		if i > 0 && positions[ids[i-1]] >= positions[id] {
			t.Fatalf("position %d came after %d", positions[id], positions[ids[i-1]])
		}
		if seen[id] || cancelled[id] {
			t.Fatalf("frame %d: seen before %v, cancelled %v", id, seen[id], cancelled[id])
		}
		seen[id] = true
	}
	for id, out := range cancelled {
		if !out && !seen[id] {
			t.Fatalf("frame %d was lost", id)
		}
	}
	if o.Pending() != 0 {
		t.Errorf("%d bytes pending after all was written", o.Pending())
	}
}

// TestOutputFailure fails the stream after each number of bytes: frames that were begun are told
// from the others exactly, and later sends fail.
func TestOutputFailure(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		s := &fakeStream{rnd: rnd, failAt: 1 + rnd.IntN(60_000)}
		failed := make(chan error, 1)
		o := New(s, Config{OnError: func(err error) { failed <- err }, MaxBatchFrames: 1 + rnd.IntN(20)})
		positions := map[int]uint64{}
		var err error
		o.mu.Lock() // queue all before the flusher begins, so that batches are large
		o.flushing = true
		o.mu.Unlock()
		for id := 0; id < 100; id++ {
			if positions[id], err = o.Send(numbered(id, rnd.IntN(2000)), Alone); err != nil {
				t.Fatal(err)
			}
		}
		if o.takeBatch() {
			o.handOver()
		}
		if err := <-failed; !errors.Is(err, errFake) {
			t.Fatalf("got %v", err)
		}
		ids, rest := splitNumbered(t, s.data)
		begun := len(ids)
		if len(rest) > 0 {
			begun++
		}
		for id, at := range positions {
			if got, want := o.Begun(at), id < begun; got != want {
				t.Fatalf("seed %d: frame %d begun: got %v, want %v (%d whole, %d bytes more)", seed, id, got, want, len(ids), len(rest))
			}
		}
		if _, err := o.Send(numbered(0, 10), Alone); !errors.Is(err, errFake) {
			t.Errorf("send after the failure: got %v", err)
		}
		if o.Pending() != 0 {
			t.Errorf("%d bytes pending after the failure", o.Pending())
		}
	}
}

// TestOutputStuck checks that no sender waits for a peer that does not read: Send returns, Full
// says that there is no room, and frames that were not begun can be cancelled.
func TestOutputStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStream{rnd: rand.New(rand.NewPCG(1, 1)), stuck: make(chan struct{})}
		o := New(s, Config{MaxPendingBytes: 10_000})
		var last uint64
		for id := range 20 {
			last, _ = o.Send(numbered(id, 1000), Alone)
			synctest.Wait() // the goroutine is in Write now
		}
		room := o.Full()
		if room == nil {
			t.Fatal("there is room")
		}
		if !o.Cancel(last) || o.Cancel(last) {
			t.Error("the last frame cannot be taken out, or twice")
		}
		if o.Cancel(0) {
			t.Error("the first frame was taken out after it was begun")
		}
		select {
		case <-room:
			t.Fatal("room before anything was written")
		default:
		}
		close(s.stuck)
		<-room
		synctest.Wait()
		s.mu.Lock()
		s.stuck = nil
		s.mu.Unlock()
		if o.Full() != nil || o.Pending() != 0 {
			t.Errorf("full, %d bytes pending", o.Pending())
		}
		if ids, _ := splitNumbered(t, s.data); len(ids) != 19 {
			t.Errorf("got %d frames, want 19", len(ids))
		}
	})
}

// TestOutputClose checks that Close wakes senders that wait for room, and drops what is queued.
func TestOutputClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStream{rnd: rand.New(rand.NewPCG(1, 1)), stuck: make(chan struct{})}
		told := 0
		o := New(s, Config{MaxPendingBytes: 10, OnError: func(error) { told++ }})
		first, _ := o.Send(numbered(0, 1000), Alone)
		synctest.Wait()
		second, _ := o.Send(numbered(1, 1000), Alone)
		room := o.Full()
		if !o.Close(errFake) || o.Close(os.ErrClosed) {
			t.Error("the first close does not count, or the second does")
		}
		<-room
		if o.Full() != nil {
			t.Error("full after close")
		}
		if !o.Begun(first) || o.Begun(second) {
			t.Errorf("begun: got %v and %v, want true and false", o.Begun(first), o.Begun(second))
		}
		s.mu.Lock()
		s.failAt = 1
		s.mu.Unlock()
		close(s.stuck)
		synctest.Wait()
		if told != 0 {
			t.Error("a failure after close was reported")
		}
	})
}

// TestOutputBatches checks the bounds of a batch: what many senders have queued leaves in few
// writes, but no more than allowed in each.
func TestOutputBatches(t *testing.T) {
	s := &fakeStream{rnd: rand.New(rand.NewPCG(1, 1)), room: 1 << 20}
	o := New(s, Config{MaxBatchFrames: 10, MaxBatchBytes: 1 << 20})
	o.flushing = true
	for id := range 95 {
		_, _ = o.Send(numbered(id, 100), Alone)
	}
	flushed := make(chan struct{})
	o.AfterFlush(func() { close(flushed) })
	o.flushInline()
	<-flushed
	if n := o.config.Counters.Batches.Load(); n != 10 {
		t.Errorf("got %d batches, want 10", n)
	}
	if n := o.config.Counters.Writes.Load(); n != 10 {
		t.Errorf("got %d writes, want 10", n)
	}
	if n := o.config.Counters.Handed.Load(); n != 1 {
		t.Errorf("a sender wrote for others without end: handed over %d times, want 1", n)
	}
}

// TestNothingBegunBehindTakenOut fails a write when the kernel has taken a frame and a bit, with a
// cancelled frame last in the queue: frames of which nothing was taken do not count as begun.
func TestNothingBegunBehindTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStream{failAt: 101, stuck: make(chan struct{})}
		o := New(s, Config{Waits: true, Lent: true})
		send := func() uint64 {
			position, err := o.Send(testpeer.BufferOf(make([]byte, 100), 100), Alone)
			if err != nil {
				t.Fatal(err)
			}
			return position
		}
		first := send()
		synctest.Wait() // it is being written
		second, third, fourth := send(), send(), send()
		if !o.Cancel(fourth) {
			t.Fatal("a frame that was not begun cannot be taken out")
		}
		close(s.stuck)
		synctest.Wait()
		if !o.Begun(first) || !o.Begun(second) || o.Begun(third) {
			t.Errorf("begun: %t %t %t, want true, true, false", o.Begun(first), o.Begun(second), o.Begun(third))
		}
	})
}

// TestSentAhead: what is sent Ahead leaves with the next frame or with Flush, and AfterFlush waits
// for it.
func TestSentAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStream{room: 1 << 20}
		o := New(s, Config{})
		send := func(id int, c Company) {
			t.Helper()
			if _, err := o.Send(numbered(id, 10), c); err != nil {
				t.Fatal(err)
			}
		}
		flushes := 0
		want := func(frames, called int) {
			t.Helper()
			synctest.Wait()
			ids, rest := splitNumbered(t, s.data)
			if len(ids) != frames || len(rest) > 0 || flushes != called {
				t.Fatalf("%d frames written and %d callbacks called, want %d and %d", len(ids), flushes, frames, called)
			}
			for i, id := range ids {
				if id != i {
					t.Fatalf("frame %d is that of %d", i, id)
				}
			}
		}
		send(0, Ahead)
		o.AfterFlush(func() { flushes++ })
		send(1, Ahead)
		want(0, 0)
		send(2, Alone)
		want(3, 1)
		send(3, Ahead)
		o.AfterFlush(func() { flushes++ })
		want(3, 1)
		o.Flush(Alone)
		want(4, 2)
		o.Flush(Alone)
		o.AfterFlush(func() { flushes++ })
		want(4, 3)
		send(4, Ahead)
		o.AfterFlush(func() { flushes++ })
		o.Close(errFake)
		o.Flush(Alone)
		want(4, 4)
		if o.Pending() != 0 {
			t.Errorf("%d bytes pending at the end", o.Pending())
		}
	})
}

// TestSentAheadWhereWritesWait is the same on a stream that cannot try, with one goroutine for
// both.
func TestSentAheadWhereWritesWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeStream{room: 1 << 20}
		o := New(s, Config{Waits: true})
		for id := range 2 {
			if _, err := o.Send(numbered(id, 10), Ahead); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(s.data) > 0 {
			t.Error("written before flush")
		}
		o.Flush(Alone)
		synctest.Wait()
		if ids, _ := splitNumbered(t, s.data); len(ids) != 2 || s.patients != 1 {
			t.Errorf("%d frames written in %d writes, want 2 in 1", len(ids), s.patients)
		}
	})
}

// TestFrameQueueModel compares the queue with a slice, with positions beyond 2^32.
func TestFrameQueueModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	q := frameQueue{first: 1<<32 - 500, next: 1<<32 - 500}
	type entry struct {
		at    uint64
		frame *buffer.LinkBuffer
	}
	var model []entry
	for range 100_000 {
		switch op := rnd.IntN(9); {
		case op < 4:
			frame := new(buffer.LinkBuffer)
			model = append(model, entry{q.push(frame, len(model), 0), frame})
		case op < 7:
			for len(model) > 0 && model[0].frame == nil {
				model = model[1:]
			}
			f, ok := q.pop()
			if ok != (len(model) > 0) || ok && (f.frame != model[0].frame || f.at != model[0].at) {
				t.Fatalf("pop: got %v, %v", f, ok)
			}
			if ok {
				model = model[1:]
			}
		case op < 8 && len(model) > 0:
			i := rnd.IntN(len(model))
			if got := q.remove(model[i].at); got.frame != model[i].frame {
				t.Fatalf("remove %d: got %p, want %p", model[i].at, got.frame, model[i].frame)
			}
			model[i].frame = nil
		case rnd.IntN(1000) == 0:
			for {
				if _, ok := q.pop(); !ok {
					break
				}
			}
			model = nil
		}
	}
}

func TestCopyOf(t *testing.T) {
	p := bytes.Repeat([]byte("0123456789"), 10_000)
	mine := bytes.Clone(p)
	b := frame.Take()
	_ = b.Link(mine)
	c := frame.CopyOf(b)
	clear(mine)
	_ = c.Flush()
	if !bytes.Equal(testpeer.BytesOf(c), p) {
		t.Error("the copy refers to the caller's memory")
	}
}

// TestOutputBugs has every impossible state panic in the package's name.
func TestOutputBugs(t *testing.T) {
	for name, f := range map[string]func(){
		"pending": func() { New(testpeer.Discard{}, Config{}).addPendingLocked(-1) },
		"unpop": func() {
			var q frameQueue
			q.push(frame.Take(), 0, 0)
			q.unpop(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "output: BUG: ") {
					t.Errorf("got %v", v)
				}
			}()
			f()
		})
	}
}
