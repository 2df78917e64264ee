package output

import (
	"math/rand/v2"
	"testing"
)

// TestTrim: an output that has sent a burst keeps nothing of it once it is trimmed, and can send
// more.
func TestTrim(t *testing.T) {
	s := &fakeStream{rnd: rand.New(rand.NewPCG(1, 1)), room: 1 << 20}
	o := New(s, Config{})
	for burst := range 3 {
		for id := range 100 {
			if _, err := o.Send(numbered(100*burst+id, 10), Ahead); err != nil {
				t.Fatal(err)
			}
		}
		o.Trim() // does nothing
		o.Flush(Alone)
		if o.queue.ring == nil || cap(o.batch) == 0 {
			t.Error("a burst leaves nothing behind: there is nothing to test")
		}
		o.Trim()
		if o.queue.ring != nil || o.batch != nil {
			t.Errorf("after Trim there is a ring of %d frames, and room for a batch of %d", len(o.queue.ring), cap(o.batch))
		}
	}
	ids, rest := splitNumbered(t, s.data)
	if len(ids) != 300 || len(rest) > 0 {
		t.Errorf("got %d frames and %d bytes, want 300 frames", len(ids), len(rest))
	}
}
