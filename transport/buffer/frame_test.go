package buffer

import (
	"bytes"
	"errors"
	"io"
	"testing"
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
		if err != nil {
			t.Fatal(err)
		}
		// Up to trustMax, or hardly more, only what came with the header is copied, above it a third of the frame.
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
