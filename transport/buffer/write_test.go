package buffer

import (
	"bytes"
	"slices"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestMallocStays: length fields are filled in after everything else was written.
func TestMallocStays(t *testing.T) {
	var b LinkBuffer
	closeAtEnd(t, &b)
	var fields [][]byte
	for i := range 1000 {
		field, _ := b.Malloc(4)
		fields = append(fields, field)
		b.WriteBinary(numbered(i * 8))
		b.WriteDirect([]byte("direct"), 2)
	}
	for i, field := range fields {
		copy(field, []byte{1, byte(i), byte(i >> 8), 2})
	}
	b.Flush()
	for i := range 1000 {
		p, err := b.Next(4 + i*8 + 6)
		want := slices.Concat([]byte{1, byte(i), byte(i >> 8), 2}, numbered(i*8))
		want = slices.Insert(want, len(want)-2, []byte("direct")...)
		if err != nil || !bytes.Equal(p, want) {
			t.Fatalf("%d: got %x, %v, want %x", i, p, err, want)
		}
	}
}

// TestWriteDirectIsLinear counts the blocks that the searches look at.
func TestWriteDirectIsLinear(t *testing.T) {
	for _, n := range []int{10, 1000, 4000} {
		counts := defaults
		b := LinkBuffer{tuning: &counts}
		closeAtEnd(t, &b)
		header, _ := b.Malloc(3)
		copy(header, "abc")
		p := numbered(4 << 10)
		total := n * (4 + len(p))
		space, _ := b.Malloc(total)
		written := b.MallocLen()
		for i := range n {
			space[4*i+3] = byte(i)
			testkit.Must(t, b.WriteDirect(p, total-4*(i+1)))
		}
		b.MallocAck(written)
		if counts.seekSteps > 3*n {
			t.Errorf("%d insertions looked at %d blocks", n, counts.seekSteps)
		}
		b.Flush()
		if b.Len() != 3+total {
			t.Fatalf("got %d bytes, want %d", b.Len(), 3+total)
		}
		b.Skip(3)
		for i := range n {
			field, _ := b.Next(4)
			last := field[3]
			got, err := b.Next(len(p))
			if err != nil || last != byte(i) || &got[0] != &p[0] {
				t.Fatalf("string %d: %v, or copied", i, err)
			}
		}
	}
}

func TestAppendMovesBytes(t *testing.T) {
	var b, other LinkBuffer
	closeAtEnd(t, &b)
	closeAtEnd(t, &other)
	long := numbered(9000)
	b.WriteString("ab")
	other.WriteString("skipped, flushed")
	other.Flush()
	other.Skip(9)
	other.WriteBinary(long)
	other.WriteDirect([]byte("!"), 9000)
	testkit.Must(t, b.Append(&other))
	holdsNothing(t, &other)
	if other.Len() != 0 || other.MallocLen() != 0 || b.Len() != 0 || b.MallocLen() != 2+7+1+9000 {
		t.Errorf("got %d+%d and %d+%d bytes", b.Len(), b.MallocLen(), other.Len(), other.MallocLen())
	}
	b.WriteDirect([]byte("?"), 9000)
	b.Flush()
	if p, _ := b.Next(11); string(p) != "abflushed!?" {
		t.Errorf("got %q", p)
	}
	if p, _ := b.Next(9000); &p[0] != &long[0] {
		t.Error("copied")
	}
}

// TestInsertIntoView: WriteDirect into bytes that came from a Slice through Append.
func TestInsertIntoView(t *testing.T) {
	var b LinkBuffer
	closeAtEnd(t, &b)
	b.WriteString("abcdef")
	b.Flush()
	part, _ := b.Slice(4)
	b.Close()
	var out LinkBuffer
	closeAtEnd(t, &out)
	testkit.Must(t, out.Append(part.(*LinkBuffer)))
	out.WriteDirect([]byte("-"), 2)
	out.MallocAck(4)
	out.WriteString("!")
	out.Flush()
	if s, err := out.ReadString(5); s != "ab-c!" {
		t.Errorf("got %q, %v", s, err)
	}
}
