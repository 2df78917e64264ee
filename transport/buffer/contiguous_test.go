package buffer

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// TestAnnouncedLengthTakesNoMemory: a peer announces 2 GiB and sends 100 bytes.
func TestAnnouncedLengthTakesNoMemory(t *testing.T) {
	for op, call := range map[string]func(b *LinkBuffer, n int) error{
		"Next":       func(b *LinkBuffer, n int) error { _, err := b.Next(n); return err },
		"Peek":       func(b *LinkBuffer, n int) error { _, err := b.Peek(n); return err },
		"Slice":      func(b *LinkBuffer, n int) error { _, err := b.Slice(n); return err },
		"ReadBinary": func(b *LinkBuffer, n int) error { _, err := b.ReadBinary(n); return err },
		"ReadFrame":  func(b *LinkBuffer, n int) error { _, err := b.ReadFrame(n); return err },
		"ReadString": func(b *LinkBuffer, n int) error { _, err := b.ReadString(n); return err },
	} {
		counts := defaults
		b := LinkBuffer{tuning: &counts}
		closeAtEnd(t, &b)
		src := &pieceSource{data: numbered(100), piece: 60, err: io.ErrUnexpectedEOF}
		b.Bind(src, nil)
		if err := call(&b, MaxBytes); err != io.ErrUnexpectedEOF {
			t.Errorf("%s: got %v, want the error of the Source", op, err)
		}
		if counts.grownBytes > trustMax || src.most > trustMax {
			t.Errorf("%s took %d, %d bytes for 100", op, counts.grownBytes, src.most)
		}
		if p, err := b.Next(100); err != nil || !bytes.Equal(p, numbered(100)) {
			t.Errorf("%s: what arrived is not readable: %v", op, err)
		}
	}
}

// TestMemoryFollowsArrival: at any time the memory taken beyond what has arrived is at most
// trustMax, or twice what has arrived.
func TestMemoryFollowsArrival(t *testing.T) {
	const n, part = 9 << 20, 1 << 16
	data := numbered(n)
	timeout := errors.New("timeout")
	for op, read := range map[string]func(b *LinkBuffer) ([]byte, error){
		"Peek":      func(b *LinkBuffer) ([]byte, error) { return b.Peek(n) },
		"ReadFrame": func(b *LinkBuffer) ([]byte, error) { return b.ReadFrame(n) },
	} {
		var b LinkBuffer
		closeAtEnd(t, &b)
		for at := part; at <= n; at += part {
			b.Bind(&pieceSource{data: data[at-part : at], piece: 1 << 14, err: timeout}, nil)
			p, err := read(&b)
			if last := at == n; (err == nil) != last || last && !bytes.Equal(p, data) {
				t.Fatalf("%s at %d: %v", op, at, err)
			}
			if got, most := memory(&b), at+max(2*at, trustMax)+part; got > most {
				t.Fatalf("%s holds %d bytes when %d arrived, want at most %d", op, got, at, most)
			}
		}
	}
}

// TestGrowingPeek: Peek(1), Peek(2), … while the bytes arrive.
func TestGrowingPeek(t *testing.T) {
	const n = 3 << 18
	counts := defaults
	b := LinkBuffer{tuning: &counts}
	closeAtEnd(t, &b)
	data := numbered(n)
	b.Bind(&pieceSource{data: data, piece: 1448, err: io.EOF}, nil)
	var seen []held
	for i := 1; i <= n; i++ {
		p, err := b.Peek(i)
		if err != nil || p[i-1] != data[i-1] {
			t.Fatalf("Peek(%d): %v", i, err)
		}
		if i%9973 == 0 {
			seen = append(seen, held{p, data[:i]})
		}
		if counts.copiedBytes > 2*n {
			t.Fatalf("copied %d bytes for %d", counts.copiedBytes, i)
		}
	}
	for _, h := range seen {
		if !bytes.Equal(h.got, h.want) {
			t.Fatal("an earlier Peek changed")
		}
	}
	if got := memory(&b); got > 2*n+readMax {
		t.Errorf("holds %d bytes for %d", got, n)
	}
}

// TestGrowingPeekAcrossBlocks is the same when the bytes are already there, in many blocks.
func TestGrowingPeekAcrossBlocks(t *testing.T) {
	const n = 1 << 19
	counts := defaults
	b := LinkBuffer{tuning: &counts}
	closeAtEnd(t, &b)
	data := numbered(n)
	for i := 0; i < n; i += 1 << 12 {
		b.WriteBinary(data[i : i+1<<12])
	}
	b.Flush()
	for i := 1; i <= n; i++ {
		if p, err := b.Peek(i); err != nil || p[i-1] != data[i-1] {
			t.Fatalf("Peek(%d): %v", i, err)
		}
		if counts.copiedBytes > 3*n {
			t.Fatalf("copied %d bytes for %d", counts.copiedBytes, i)
		}
	}
	if got := memory(&b); got > 2*n+readMax {
		t.Errorf("holds %d bytes for %d", got, n)
	}
}

func TestLargeNext(t *testing.T) {
	const n = 5<<20 + 3
	counts := defaults
	b := LinkBuffer{tuning: &counts}
	closeAtEnd(t, &b)
	data := numbered(n)
	b.Bind(&pieceSource{data: data, piece: 64 << 10, err: io.EOF}, nil)
	p, err := b.Next(n)
	if err != nil || !bytes.Equal(p, data) {
		t.Fatal("wrong content", err)
	}
	if counts.copiedBytes > 2*n || memory(&b) > 2*n {
		t.Errorf("copied %d, holds %d bytes for %d", counts.copiedBytes, memory(&b), n)
	}
}
