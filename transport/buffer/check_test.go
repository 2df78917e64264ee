//go:build buffercheck

package buffer

import (
	"runtime"
	"strings"
	"testing"
)

// panics returns the message with which call panics.
func panics(call func()) (message string) {
	defer func() { message, _ = recover().(string) }()
	call()
	return ""
}

func TestOutstandingReturnsToZero(t *testing.T) {
	before, ok := Outstanding()
	if !ok {
		t.Fatal("not counting")
	}
	var b LinkBuffer
	b.Malloc(100 << 10)
	b.Malloc(maxPooledBytes + 1)
	if n, _ := Outstanding(); n != before+2 {
		t.Errorf("got %d blocks, want %d", n, before+2)
	}
	b.Flush()
	part, _ := b.Slice(10)
	b.Close()
	if n, _ := Outstanding(); n != before+1 {
		t.Errorf("with a Slice: got %d blocks, want %d", n, before+1)
	}
	part.Skip(10)
	part.Release()
	if n, _ := Outstanding(); n != before {
		t.Errorf("got %d blocks, want %d", n, before)
	}
}

// TestCollectedBlocksDoNotCount: a Slice that was never closed.
func TestCollectedBlocksDoNotCount(t *testing.T) {
	before, _ := Outstanding()
	func() {
		var b LinkBuffer
		b.WriteString("abc")
		b.Flush()
		b.Slice(3)
		b.Close()
	}()
	for range 1000 {
		runtime.GC()
		if n, _ := Outstanding(); n == before {
			return
		}
		runtime.Gosched()
	}
	n, _ := Outstanding()
	t.Errorf("got %d blocks, want %d", n, before)
}

func TestReleasedBytesArePoisoned(t *testing.T) {
	var b LinkBuffer
	defer b.Close()
	b.WriteString("abcdef")
	b.Flush()
	p, _ := b.Next(3)
	b.Release()
	if string(p) == "abc" || p[0] != poisonByte {
		t.Errorf("after Release: got %q", p)
	}
	p, _ = b.Next(3)
	b.Release()
	if p[0] != poisonByte {
		t.Errorf("after the last Release: got %q", p)
	}
}

func TestWriteAfterFreePanics(t *testing.T) {
	blk := newRoot(1<<minClassShift, classUnpooled) // kept out of the pools
	recycle(blk)
	blk.mem[17] = 1
	got := panics(func() { checkAcquire(blk) })
	if !strings.HasPrefix(got, "buffer: BUG: byte 17 ") {
		t.Errorf("got %q", got)
	}
}

func TestWriteBehindEndPanics(t *testing.T) {
	blk := newRoot(1<<minClassShift, classUnpooled)
	canary(blk)[0]++
	got := panics(func() { recycle(blk) })
	if !strings.Contains(got, "behind the end") {
		t.Errorf("got %q", got)
	}
	canary(blk)[0]--
	recycle(blk)
}

func TestDoubleFreeAndDoubleTakePanic(t *testing.T) {
	blk := newRoot(1<<minClassShift, classUnpooled)
	if got := panics(func() { blk.check.state.take() }); !strings.Contains(got, "taken twice") {
		t.Errorf("got %q", got)
	}
	recycle(blk)
	if got := panics(func() { recycle(blk) }); !strings.HasPrefix(got, "buffer: BUG: ") {
		t.Errorf("got %q", got)
	}
	if got := panics(func() { checkFree(blk) }); !strings.Contains(got, "given back twice") {
		t.Errorf("got %q", got)
	}
}
