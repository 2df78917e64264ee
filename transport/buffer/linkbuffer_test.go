package buffer

import (
	"io"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// pieceSource delivers data in pieces of at most piece bytes and then err.
type pieceSource struct {
	data  []byte
	piece int
	err   error
	most  int // the longest space it was offered
}

func (s *pieceSource) Fill(b *LinkBuffer, need int) error {
	for b.Len() < need {
		if len(s.data) == 0 {
			return s.err
		}
		space := b.Reserve(0)
		s.most = max(s.most, len(space))
		n := copy(space[:min(len(space), s.piece)], s.data)
		s.data = s.data[n:]
		b.Commit(n)
	}
	return nil
}

// collectSink keeps up to limit bytes and then fails with err.
type collectSink struct {
	got   []byte
	limit int
	err   error
}

func (s *collectSink) Drain(b *LinkBuffer) error {
	for b.Len() > 0 {
		p := b.First()
		n := min(len(p), s.limit-len(s.got))
		if n == 0 {
			return s.err
		}
		s.got = append(s.got, p[:n]...)
		b.Discard(n)
	}
	return nil
}

// numbered returns n bytes that differ from their neighbours.
func numbered(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

// closeAtEnd closes b when the test is over; b must hold no memory then.
func closeAtEnd(t *testing.T, b *LinkBuffer) {
	t.Helper()
	t.Cleanup(func() {
		b.Close()
		holdsNothing(t, b)
	})
}

func holdsNothing(t *testing.T, b *LinkBuffer) {
	t.Helper()
	if b.head != nil || b.pending != nil || b.nodes != nil || b.spare != nil {
		t.Error("an empty buffer holds memory")
	}
}

// memory returns the bytes of the blocks in the chain.
func memory(b *LinkBuffer) (n int) {
	for blk := b.head; blk != nil; blk = blk.next {
		if blk.kind == kindRoot {
			n += len(blk.mem)
		}
	}
	return n
}

func TestEmptyBufferHoldsNothing(t *testing.T) {
	src := &pieceSource{data: numbered(10000), piece: 1000, err: io.EOF}
	var in LinkBuffer
	closeAtEnd(t, &in)
	in.Bind(src, nil)
	in.Reserve(0)
	in.Commit(0)
	holdsNothing(t, &in)
	if _, err := in.Next(10000); err != nil {
		t.Fatal(err)
	}
	in.Release()
	holdsNothing(t, &in)
	if _, err := in.ReadFrame(2000); err != io.EOF {
		t.Fatalf("got %v, want EOF", err)
	}
	in.Release()
	holdsNothing(t, &in)

	var out LinkBuffer
	closeAtEnd(t, &out)
	out.Bind(nil, &discardSink{})
	out.Malloc(10)
	out.WriteBinary(numbered(5000))
	out.Malloc(10)
	testkit.Must(t, out.Flush())
	holdsNothing(t, &out)
	out.Malloc(10)
	out.MallocAck(0)
	out.Flush()
	holdsNothing(t, &out)
}

func TestReadSizeFollowsTraffic(t *testing.T) {
	var b LinkBuffer
	closeAtEnd(t, &b)
	read := func(n int) int {
		space := b.Reserve(0)
		b.Commit(min(n, len(space)))
		b.Skip(b.Len())
		b.Release()
		return len(space)
	}
	testkit.Equal(t, read(100), readMin, "first read")
	for range 10 {
		read(1 << 20)
	}
	testkit.Equal(t, read(1<<20), readMax, "in a burst")
	for range 4*smallReadsBeforeShrink + 1 {
		read(100)
	}
	testkit.Equal(t, read(100), readMin, "after the burst")
	if got := len(b.Reserve(100 << 10)); got < 100<<10 {
		t.Errorf("Reserve(100 KiB): got %d", got)
	}
	b.Commit(0)
}

// TestHotPathsDoNotAllocate first runs each path once, so that the pools have blocks.
func TestHotPathsDoNotAllocate(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector makes sync.Pool drop blocks at random")
	}
	var in, out LinkBuffer
	closeAtEnd(t, &in)
	closeAtEnd(t, &out)
	in.Bind(&endlessSource{most: 1000}, nil)
	out.Bind(nil, &discardSink{})
	p := numbered(8 << 10)
	for name, run := range map[string]func(){
		"read":        func() { in.Peek(8); in.Skip(8); in.Next(900); in.Release() },
		"write":       func() { out.Malloc(10); out.WriteString("abc"); out.WriteByte(1); out.Flush() },
		"link":        func() { out.Malloc(4); out.WriteBinary(p); out.Malloc(4); out.Flush() },
		"WriteDirect": func() { out.Malloc(20000); out.WriteDirect(p, 10000); out.MallocAck(20000); out.Flush() },
		"join":        func() { in.Next(700); in.Next(700); in.Next(5000); in.Release() },
	} {
		run()
		if got := testing.AllocsPerRun(1000, run); got >= 1 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}
