package output

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// linked returns a frame that has the bytes own, and behind them p by reference.
func linked(t *testing.T, own, p []byte) *buffer.LinkBuffer {
	t.Helper()
	frame := frame.Take()
	space, err := frame.Malloc(len(own))
	if err != nil {
		t.Fatal(err)
	}
	copy(space, own)
	if err := frame.WriteDirect(p, 0); err != nil {
		t.Fatal(err)
	}
	if err := frame.Flush(); err != nil {
		t.Fatal(err)
	}
	return frame
}

// TestDetach changes memory that was sent by reference once Detach has returned: whatever was
// written by then, and however long the peer does not read, it gets what was sent.
func TestDetach(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		sizes := []int{1, directBytes - 1, directBytes, chunkBytes, chunkBytes + 1, 3 * directMaxBytes}
		room, size := 1+rnd.IntN(chunkBytes), sizes[rnd.IntN(len(sizes))]
		synctest.Test(t, func(t *testing.T) { checkDetach(t, rnd.Uint64(), room, size) })
	}
}

func checkDetach(t *testing.T, seed uint64, room, size int) {
	s := &fakeStream{rnd: rand.New(rand.NewPCG(seed, 1)), room: room, stuck: make(chan struct{})}
	o := New(s, Config{Lent: true})
	var want []byte
	var memory [][]byte
	var positions []uint64
	for i := range 3 { // the first gets stuck, so the others are queued, or in its batch
		p := bytes.Repeat([]byte{byte('a' + i)}, size)
		want = append(append(want, byte(i)), p...)
		position, err := o.Send(linked(t, []byte{byte(i)}, p), Alone)
		if err != nil {
			t.Fatal(err)
		}
		memory, positions = append(memory, p), append(positions, position)
	}
	synctest.Wait() // a goroutine is in a write that waits
	for i, p := range memory {
		if o.Begun(positions[i]) {
			o.Detach(positions[i])
			clear(p)
		}
	}
	s.mu.Lock()
	close(s.stuck)
	s.stuck = nil
	s.mu.Unlock()
	synctest.Wait()
	if !bytes.Equal(s.data, want) {
		t.Fatalf("%d bytes, room for %d at a time: what was written is not what was sent", size, room)
	}
}

// roomStream has room for some bytes without a wait, and for as many again after each wait.
type roomStream struct {
	tried            bool
	room, left, size int
	lent             []byte
	direct           int // bytes written from lent
}

func (s *roomStream) SetWriteTimeout(d time.Duration) error {
	s.tried = d == tryTimeout
	return nil
}

func (s *roomStream) Write(p []byte) (n int, err error) {
	if len(p) > s.left && !s.tried {
		s.left = s.room
	}
	n = min(len(p), s.left)
	s.left -= n
	s.size += n
	if &p[:cap(p)][cap(p)-1] == &s.lent[len(s.lent)-1] {
		s.direct += n
	}
	if n < len(p) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// TestLentIsSeldomCopied: of long frames that a slow peer takes, only the bytes that the output
// waits for are copied, and not those that there is room for after the wait.
func TestLentIsSeldomCopied(t *testing.T) {
	const frames, size = 3, 4 << 20
	s := &roomStream{room: 512 << 10, left: 1 << 10}
	o := New(s, Config{Lent: true, Start: func(f func()) bool { f(); return true }})
	for i := range frames {
		s.lent = bytes.Repeat([]byte{byte('a' + i)}, size)
		if _, err := o.Send(linked(t, []byte{1}, s.lent), Alone); err != nil {
			t.Fatal(err)
		}
	}
	if s.size != frames*(size+1) {
		t.Fatalf("%d bytes were written, want %d", s.size, frames*(size+1))
	}
	if copied := s.size - s.direct; copied > s.size/4 {
		t.Errorf("%d of %d bytes were copied, want a quarter at most", copied, s.size)
	}
}
