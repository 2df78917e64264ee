package buffer

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

func TestReadFrameIsOwned(t *testing.T) {
	for _, n := range []int{1, 100, 5000, 70 << 10, trustMax + trustMax/8, trustMax + trustMax/2, 3<<20 + 1, 16 << 20} {
		counts := defaults
		b := LinkBuffer{tuning: &counts}
		data := numbered(2*n + 4)
		b.Bind(&pieceSource{data: data, piece: 20 << 10, err: io.EOF}, nil)
		b.Peek(4)
		b.Skip(4)
		first, err := b.ReadFrame(n)
		if err != nil || len(first) != n || cap(first) != n {
			t.Fatalf("%d: %v, len %d cap %d", n, err, len(first), cap(first))
		}
		second, err := b.ReadFrame(n)
		testkit.Must(t, err)
		// Up to trustMax, or hardly more, only what came with the header is copied; above it a
		// third of the frame.
		most := 64 << 10
		if n > trustMax+trustMax/8 {
			most += 2 * (n/3 + 64<<10)
		}
		if counts.copiedBytes > most {
			t.Errorf("%d: copied %d bytes, want at most %d", n, counts.copiedBytes, most)
		}
		if counts.grownBytes > 2*n {
			t.Errorf("%d: took %d bytes for two frames", n, counts.grownBytes)
		}
		b.Close()
		var other LinkBuffer // would overwrite the frames if they were pooled
		for range 50 {
			p, _ := other.Malloc(n)
			overwrite(p)
		}
		other.Close()
		if !bytes.Equal(first, data[4:4+n]) || !bytes.Equal(second, data[4+n:]) {
			t.Errorf("%d: a frame changed after it was handed out", n)
		}
	}
}

// TestReadFrameResumes: deadlines interrupt a frame; what came is not copied each time.
func TestReadFrameResumes(t *testing.T) {
	const n = 1 << 19
	counts := defaults
	b := LinkBuffer{tuning: &counts}
	closeAtEnd(t, &b)
	data := numbered(n)
	timeout := errors.New("timeout")
	for i := 0; i < n; i += 1 << 10 {
		b.Bind(&pieceSource{data: data[i : i+1<<10], piece: 1 << 10, err: timeout}, nil)
		p, err := b.ReadFrame(n)
		if last := i+1<<10 == n; (err == nil) != last || last && !bytes.Equal(p, data) {
			t.Fatalf("at %d: %v", i, err)
		}
	}
	if counts.copiedBytes > n || counts.grownBytes > 2*n {
		t.Errorf("copied %d, took %d bytes for %d", counts.copiedBytes, counts.grownBytes, n)
	}
}

// TestAwaitFrame: a frame that comes in parts, with deadlines between them, and that Slice and
// Append hand on, is in one piece of memory that belongs to its taker alone: most of it is never
// copied.
func TestAwaitFrame(t *testing.T) {
	const header = 100
	timeout := errors.New("timeout")
	for _, n := range []int{20 << 10, 70 << 10, 1 << 20, trustMax + trustMax/2, 16 << 20} {
		for name, fill := range map[string]func(b *LinkBuffer, data []byte, have int) error{
			"by a Source": func(b *LinkBuffer, data []byte, have int) error {
				b.Bind(&pieceSource{data: data[have:min(len(data), have+100<<10)], piece: 30 << 10, err: timeout}, nil)
				return b.AwaitFrame(n, min(n, have+64<<10))
			},
			"by Reserve": func(b *LinkBuffer, data []byte, have int) error {
				err := b.AwaitFrame(n, 0)
				b.Commit(copy(b.Reserve(0), data[have:]))
				return err
			},
		} {
			counts := defaults
			var b, whole LinkBuffer
			b.tuning = &counts
			data := numbered(n + 500)
			b.Commit(copy(b.Reserve(0), data[:50]))
			for b.Len() < n {
				if err := fill(&b, data, b.Len()); err != nil && err != timeout {
					t.Fatal(err)
				}
			}
			part, err := b.Slice(n)
			testkit.Must(t, err)
			whole.Append(part.(*LinkBuffer))
			whole.Flush()
			if first := len(whole.First()); first != n {
				t.Errorf("%d %s: the first %d bytes lie together, want all", n, name, first)
			}
			most := 64 << 10
			if n > trustMax+trustMax/8 {
				most += n/3 + 100<<10
			}
			if counts.copiedBytes > most {
				t.Errorf("%d %s: copied %d bytes, want at most %d", n, name, counts.copiedBytes, most)
			}
			peeked, _ := whole.Peek(header + 1)
			start, _ := whole.Next(header)
			body, err := whole.ReadFrame(n - header)
			if err != nil || len(body) != n-header || cap(body) != n-header {
				t.Fatalf("%d %s: got %d bytes, room for %d, %v", n, name, len(body), cap(body), err)
			}
			if &body[0] != &peeked[header] {
				t.Errorf("%d %s: the frame was copied", n, name)
			}
			behind, _ := b.Next(b.Len())
			if !bytes.Equal(start, data[:header]) || !bytes.Equal(body, data[header:n]) || !bytes.HasPrefix(data[n:], behind) {
				t.Errorf("%d %s: got other bytes", n, name)
			}
			whole.Close()
			b.Close()
		}
	}
}

// TestLittleOfFrame: a small part taken of a frame's memory does not keep all of that memory.
func TestLittleOfFrame(t *testing.T) {
	const n = 1 << 20
	var b LinkBuffer
	closeAtEnd(t, &b)
	b.Bind(&pieceSource{data: numbered(n), piece: 50 << 10, err: io.EOF}, nil)
	testkit.Must(t, b.AwaitFrame(n, n))
	start, _ := b.Peek(1)
	if p, err := b.ReadFrame(n / 2); err != nil || &p[0] == &start[0] {
		t.Errorf("got the frame's memory, %v", err)
	}
}

// TestFrameThatDoesNotBegin: ReadFrame fails again and again before anything has come, as at a
// timeout. It keeps no memory for the frame.
func TestFrameThatDoesNotBegin(t *testing.T) {
	const n = 1 << 20
	var b LinkBuffer
	b.Bind(failingSource{}, nil)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 50 {
		if _, err := b.ReadFrame(n); !errors.Is(err, errFailingSource) {
			t.Fatalf("got %v, want %v", err, errFailingSource)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 2*n {
		t.Errorf("%d bytes are kept for frames of which nothing came", kept)
	}
	runtime.KeepAlive(&b)
}

var errFailingSource = errors.New("nothing came")

type failingSource struct{}

func (failingSource) Fill(*LinkBuffer, int) error { return errFailingSource }
